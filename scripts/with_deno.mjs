// Runs a task of deno.json with the toolchain's Deno: node scripts/with_deno.mjs TASK [ARG...]
// To use a different Deno, set APERTURE_DENO to its path.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { nodeModules, root, setUp } from "./lib/setup.mjs";

setUp();
const own = [process.execPath, join(nodeModules, "deno", "bin.cjs")];
const [command, ...before] = process.env.APERTURE_DENO ? [process.env.APERTURE_DENO] : own;
const args = [...before, "task", "--quiet", ...process.argv.slice(2)];
const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
if (error !== undefined) throw error;
process.exit(status ?? 1);
