/**
 * The `aperture-atomic` command: runs a program while holding a directory's lock, or replaces a
 * file with a program's output if the program succeeds.
 *
 * ```sh
 * deno run --allow-read --allow-write --allow-run jsr:@aperture/atomic/cli lock . -- make
 * npx @aperture/atomic lock . -- make
 * curl -sSf https://example.com/list | aperture-atomic write list.txt
 * aperture-atomic write list.txt -- curl -sSf https://example.com/list
 * ```
 *
 * `aperture-atomic --help` lists all commands and options. Importing this module runs the command
 * and exits the process.
 *
 * @module
 */

import process from "node:process";
import { main } from "./internal/cli/main.ts";

void main(process.argv.slice(2)).then((code) => process.exit(code));
