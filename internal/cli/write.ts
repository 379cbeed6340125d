import * as fs from "node:fs";
import process from "node:process";
import { isatty } from "node:tty";
import { AtomicFile, atomicWrite } from "../../atomic.ts";
import { codeOf } from "../base/errors.ts";
import { type Command, command, durability, flag, invocationOf, octal } from "./arguments.ts";
import { EX_UNAVAILABLE, EX_USAGE, ExitError, UsageError } from "./errors.ts";
import { ENDING, onSignals, OTHERS, runCommand, signalCode } from "./process.ts";

/** `write FILE`: replaces a file with standard input or with the output of a successful command. */
export const write: Command = command("FILE", {
  mode: octal,
  durability,
  "create-new": flag,
  parents: flag,
}, async (given) => {
  const { operand: file, rest: [first] } = given;
  if (first !== undefined && first !== "--") {
    throw new UsageError(`Unexpected argument '${first}' after '${file}': use -- COMMAND`);
  }
  const invocation = first === undefined ? undefined : invocationOf(given);
  if (invocation !== undefined && cutsExitCodes()) {
    throw new ExitError(
      EX_UNAVAILABLE,
      "Bun on Windows reports exit code 256 as 0, so the output of a failed COMMAND could be " +
        "published: use Node or Deno (https://github.com/oven-sh/bun/issues/33720)",
    );
  }
  const controller = new AbortController();
  const { signal } = controller;
  // If there is a COMMAND, it receives the others.
  const signals = invocation === undefined ? [...ENDING, ...OTHERS] : ENDING;
  onSignals((name) => controller.abort(signalCode(name)), signals);
  const { "create-new": createNew = false, ...others } = given.options;
  const options = { ...others, createNew, signal };
  try {
    if (invocation === undefined) {
      await atomicWrite(file, standardInput(), options);
      return 0;
    }
    const draft = await AtomicFile.open(file, options);
    try {
      const code = await runCommand(invocation, async (output) => {
        // Keep reading after a signal; otherwise, the command could block on its output and never
        // exit.
        for await (const chunk of output) {
          if (!signal.aborted) await draft.write(chunk).catch(unlessAborted);
        }
      });
      if (code === 0) await draft.commit();
      return code;
    } finally {
      await draft.discard();
    }
  } catch (error) {
    unlessAborted(error);
    return signal.reason;
  }

  function unlessAborted(error: unknown) {
    if (!signal.aborted) throw error;
  }
});

function cutsExitCodes(): boolean {
  // dnt-shim-ignore
  return process.platform === "win32" && "Bun" in globalThis;
}

function standardInput(): AsyncIterable<Uint8Array> {
  const kind = kindOfInput();
  if (kind === "device") return notEmpty(process.stdin);
  // Bun's process.stdin reads a file from its start, even if another program has already read part
  // of it. On Node and Deno, process.stdin is empty for directories and block devices.
  return kind === "file" ? fs.createReadStream("", { fd: 0 }) : process.stdin;
}

function kindOfInput(): "device" | "file" | "stream" {
  try {
    const info = fs.fstatSync(0);
    // The runtimes open the null device in place of a closed standard input.
    if (info.isCharacterDevice()) return isatty(0) ? "stream" : "device";
    if (process.platform === "win32" || info.isFIFO() || info.isSocket()) return "stream";
    return "file";
  } catch (error) {
    return codeOf(error) === "EBADF" ? "device" : "stream";
  }
}

/** Fails if the input is empty and is probably the null device, not an intentionally empty file. */
async function* notEmpty(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let isEmpty = true;
  for await (const chunk of input) {
    isEmpty = false;
    yield chunk;
  }
  if (isEmpty) {
    throw new ExitError(EX_USAGE, "No input. To publish an empty file, use: write FILE -- true");
  }
}
