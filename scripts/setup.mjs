import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The top of the repository. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The program that starts the Deno of the tool chain, for Node to run. */
export const denoProgram = join(root, "node_modules", "deno", "bin.cjs");

/** Installs the tool chain of package.json from npm, unless it is there as package-lock.json says. */
export function setUp() {
  const lock = createHash("sha256").update(readFileSync(join(root, "package-lock.json")));
  const wanted = lock.digest("hex");
  const stamp = join(root, "node_modules", ".installed");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  // Not `npm ci`: it refuses a lock file that lacks packages for other platforms, which npm
  // leaves out where its registry does not have them.
  const { status, error } = spawnSync(
    "npm",
    ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"],
    { cwd: root, stdio: "inherit", shell: process.platform === "win32" },
  );
  if (error !== undefined || status !== 0) {
    throw new Error("The tool chain could not be installed with npm", { cause: error });
  }
  // `deno task` would take this command for its own and try to run it as JavaScript.
  for (const name of ["deno", "deno.cmd", "deno.ps1"]) {
    rmSync(join(root, "node_modules", ".bin", name), { force: true });
  }
  writeFileSync(stamp, wanted);
}
