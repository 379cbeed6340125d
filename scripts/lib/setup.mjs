import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/**
 * The directory that describes the tool chain. Not the root: `deno task` resolves all packages that
 * a package.json there names, and would run the npm package's `deno` command as itself.
 */
const tools = join(root, "scripts", "tools");

/** Where the documentation's site and its tools are described. */
export const site = join(root, "scripts", "site");

/** Where npm installs the tool chain. */
export const nodeModules = join(tools, "node_modules");

/** Installs the tool chain from npm, unless it matches package-lock.json already. */
export function setUp(dir = tools) {
  const lock = createHash("sha256").update(readFileSync(join(dir, "package-lock.json")));
  const wanted = lock.digest("hex");
  const stamp = join(dir, "node_modules", ".installed");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  // Not `npm ci`: it refuses a lock file without packages for other platforms, and npm leaves those
  // out if its registry does not have them.
  const { status, error } = spawnSync(
    "npm",
    ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"],
    { cwd: dir, stdio: "inherit", shell: process.platform === "win32" },
  );
  if (error !== undefined || status !== 0) {
    throw new Error("The tool chain could not be installed with npm", { cause: error });
  }
  writeFileSync(stamp, wanted);
}
