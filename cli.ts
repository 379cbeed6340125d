/**
 * The command `aperture-atomic`: run a program while a directory is locked, or replace a file by a
 * program's output if the program succeeds.
 *
 * ```sh
 * deno run --allow-read --allow-write --allow-run jsr:@aperture/atomic/cli lock . -- make
 * npx @aperture/atomic lock . -- make
 * curl -sSf https://example.com/list | aperture-atomic write list.txt
 * aperture-atomic write list.txt -- curl -sSf https://example.com/list
 * ```
 *
 * `aperture-atomic --help` lists all commands and options. Importing this module runs the
 * command and ends the program.
 *
 * @module
 */

import process from "node:process";
import { main } from "./internal/cli/main.ts";

void main(process.argv.slice(2)).then((code) => process.exit(code));
