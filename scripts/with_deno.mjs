// Runs a task of deno.json with the Deno of the tool chain: node scripts/with_deno.mjs TASK [ARG...]
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { nodeModules, root, setUp } from "./lib/setup.mjs";

setUp();
const deno = join(nodeModules, "deno", "bin.cjs");
const args = [deno, "task", "--quiet", ...process.argv.slice(2)];
const { status, error } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
if (error !== undefined) throw error;
process.exit(status ?? 1);
