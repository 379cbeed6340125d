import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The repository's root directory. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/**
 * The directory whose package.json lists the toolchain. It is not the root directory: `deno task`
 * resolves all packages listed in the root's package.json, so it would run the `deno` command from
 * npm instead of itself.
 */
const tools = join(root, "scripts", "tools");

/** The directory of the documentation site and its tools. */
export const site = join(root, "scripts", "site");

/** The directory into which npm installs the toolchain. */
export const nodeModules = join(tools, "node_modules");

/** Installs the toolchain from npm, unless it already matches package-lock.json. */
export function setUp(dir = tools) {
  const lock = createHash("sha256").update(readFileSync(join(dir, "package-lock.json")));
  const wanted = lock.digest("hex");
  const stamp = join(dir, "node_modules", ".installed");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  // Do not use `npm ci`: it rejects a lock file that lacks packages for other platforms, and npm
  // omits those packages if its registry does not have them.
  const { status, error } = spawnSync(
    "npm",
    ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"],
    { cwd: dir, stdio: "inherit", shell: process.platform === "win32" },
  );
  if (error !== undefined || status !== 0) {
    throw new Error("Could not install the toolchain with npm", { cause: error });
  }
  writeFileSync(stamp, wanted);
}
