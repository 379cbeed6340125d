// Runs a task of deno.json with the Deno of package.json: node scripts/with_deno.mjs TASK [ARG...]
import { spawnSync } from "node:child_process";
import process from "node:process";
import { denoProgram, root, setUp } from "./setup.mjs";

setUp();
const args = [denoProgram, "task", "--quiet", ...process.argv.slice(2)];
const { status, error } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
if (error !== undefined) throw error;
process.exit(status ?? 1);
