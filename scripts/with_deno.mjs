// Runs a task of deno.json with the Deno of package.json: node scripts/with_deno.mjs TASK [ARG...]
// Installs the tool chain first, if it is not what package-lock.json says.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const windows = process.platform === "win32";

function run(command, args, env = process.env) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: "inherit",
    shell: windows,
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

const lock = createHash("sha256").update(readFileSync(join(root, "package-lock.json"))).digest(
  "hex",
);
const stamp = join(root, "node_modules", ".installed");
if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
  // Not `npm ci`: it refuses a lock file that lacks packages of other platforms, which npm leaves
  // out where a registry does not have them.
  run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"]);
  writeFileSync(stamp, lock);
}

const bin = join(root, "node_modules", ".bin");
run(join(bin, windows ? "deno.cmd" : "deno"), ["task", "--quiet", ...process.argv.slice(2)], {
  ...process.env,
  PATH: `${bin}${delimiter}${process.env.PATH}`,
});
