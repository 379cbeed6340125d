import { codeOf } from "../base/errors.ts";
import type { Command } from "./arguments.ts";
import { EX_IOERR, EX_UNAVAILABLE, ExitError, UsageError } from "./errors.ts";
import { HELP } from "./help.ts";
import { holders } from "./holders.ts";
import { lock } from "./lock.ts";
import { complain, say } from "./print.ts";
import { sweep } from "./sweep.ts";
import { VERSION } from "./version.ts";
import { write } from "./write.ts";

const COMMANDS = new Map<string, Command>(Object.entries({ lock, write, sweep, holders }));

/** Runs the command named by the arguments and returns its exit code. */
export async function main([name, ...args]: readonly string[]): Promise<number> {
  try {
    if (name === undefined) throw new UsageError(`Missing command: ${NAMES}`);
    if (name === "-V" || name === "--version") return printed(VERSION);
    if (name === "-h" || name === "--help" || name === "help") return printed(HELP);
    const command = COMMANDS.get(name);
    if (command === undefined) throw new UsageError(`Unknown command '${name}': ${NAMES}`);
    const given = command.read(args);
    return given === "help" ? printed(HELP) : await command.run(given);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    complain(message.replace("'parents: true'", "--parents"));
    if (error instanceof UsageError) complain("See 'aperture-atomic --help'");
    if (error instanceof ExitError) return error.exitCode;
    // koffi cannot be loaded.
    return /^ERR_(?:MODULE|DLOPEN)_/.test(codeOf(error) ?? "") ? EX_UNAVAILABLE : EX_IOERR;
  }
}

const NAMES = "use lock, write, sweep or holders";

function printed(text: string): number {
  say(text.trimEnd());
  return 0;
}
