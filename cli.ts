/**
 * The command `aperture-atomic`: lock a directory while another command runs, and replace a file
 * by a command's output only if that succeeds.
 *
 * ```sh
 * deno run --allow-read --allow-write --allow-run jsr:@aperture/atomic/cli lock . -- make
 * npx @aperture/atomic lock . -- make
 * curl -sSf https://example.com/list | aperture-atomic write list.txt
 * aperture-atomic write list.txt -- curl -sSf https://example.com/list
 * ```
 *
 * `aperture-atomic --help` tells all of it. It is a program: importing it does nothing.
 *
 * @module
 */

import * as fs from "node:fs";
import process from "node:process";
import { isatty } from "node:tty";
import { fileURLToPath } from "node:url";
import { AtomicFile, atomicWrite, sweepTempFiles } from "./atomic.ts";
import { type CommandLine, readCommandLine, UsageError } from "./internal/cli/arguments.ts";
import { HELP } from "./internal/cli/help.ts";
import { onSignals, runCommand, signalCode, StartError } from "./internal/cli/process.ts";
import { codeOf } from "./internal/base/errors.ts";
import { VERSION } from "./internal/cli/version.ts";
import { DirLock, lockHolders, LockTimeoutError } from "./lock.ts";
import { stackFiles } from "./runtime/shared/stack_files.ts";

/** Exit codes of its own, from sysexits.h. */
const EX_USAGE = 64;
const EX_UNAVAILABLE = 69;
const EX_IOERR = 74;

type Asked<N extends CommandLine["name"]> = CommandLine & { name: N };

/** Does what a command line asks for; its exit code. */
async function main(args: readonly string[]): Promise<number> {
  try {
    const asked = readCommandLine(args);
    switch (asked.name) {
      case "lock":
        return await lock(asked);
      case "write":
        return await write(asked);
      case "sweep":
        return await sweep(asked);
      case "holders":
        return await holders(asked);
      case "version":
        say(VERSION);
        return 0;
      default:
        say(HELP.trimEnd());
        return 0;
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    complain(message);
    if (error instanceof StartError) return error.exitCode;
    if (!(error instanceof UsageError)) return EX_IOERR;
    complain("'aperture-atomic --help' tells more");
    return EX_USAGE;
  }
}

async function lock(asked: Asked<"lock">): Promise<number> {
  const { dir, command, shared, timeout, conflictCode, lockFileName } = asked;
  const name = lockFileName === undefined ? {} : { lockFileName };
  let held: DirLock;
  // As the first process of a container it would not end by what it does not listen to.
  const stop = onSignals((signal) => process.exit(signalCode(signal)));
  try {
    held = await DirLock.acquire(dir, {
      shared,
      ...name,
      ...timeout !== undefined && { timeout },
      onWait() {
        if (timeout === 0 || !isatty(2)) return;
        lockHolders(dir, name)
          .then((pids) => complain(`Waiting for the lock of '${dir}'${heldBy(pids)}`), () => {});
      },
    });
  } catch (error) {
    if (!(error instanceof LockTimeoutError)) throw error;
    if (isatty(2)) complain(`The lock of '${dir}' is not free${heldBy(error.holders)}`);
    return conflictCode;
  } finally {
    stop();
  }
  try {
    return await runCommand(command);
  } finally {
    held.release();
  }
}

async function write({ file, command, options }: Asked<"write">): Promise<number> {
  const controller = new AbortController();
  const { signal } = controller;
  let told = 0;
  onSignals((signal) => {
    told = signalCode(signal);
    controller.abort();
  });
  const unlessAborted = (error: unknown) => {
    if (!signal.aborted) throw error;
  };
  try {
    if (command === undefined) {
      await atomicWrite(file, standardInput(), { ...options, signal });
      return 0;
    }
    const draft = await AtomicFile.open(file, { ...options, signal });
    try {
      const code = await runCommand(command, async (output) => {
        // After a signal too, or the command could not be rid of it and end in its own way.
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
    if (told === 0) throw error;
    return told;
  }
}

/**
 * Standard input. `process.stdin` is of no use for a file on Bun, where it is read from its start
 * even if another program has read a part, nor for a directory or a disk on Node and Deno, where
 * it is as if it were empty.
 */
function standardInput(): AsyncIterable<Uint8Array> {
  if (process.platform === "win32") return process.stdin;
  const info = fs.fstatSync(0);
  return info.isFile() || info.isDirectory() || info.isBlockDevice()
    ? fs.createReadStream("", { fd: 0 })
    : process.stdin;
}

async function sweep({ dir, olderThan }: Asked<"sweep">): Promise<number> {
  const removed = await sweepTempFiles(dir, olderThan === undefined ? {} : { olderThan });
  for (const path of removed) say(path);
  return 0;
}

async function holders({ dir, lockFileName }: Asked<"holders">): Promise<number> {
  const pids = await lockHolders(dir, lockFileName === undefined ? {} : { lockFileName });
  if (pids === null) {
    complain(`The system does not tell who holds the lock of '${dir}'`);
    return EX_UNAVAILABLE;
  }
  for (const pid of pids) say(String(pid));
  return pids.length === 0 ? 1 : 0;
}

function heldBy(pids: readonly number[] | null): string {
  if (pids === null || pids.length === 0) return "";
  return `, which process ${pids.join(" and ")} ${pids.length === 1 ? "holds" : "hold"}`;
}

function say(line: string): void {
  print(1, line);
}

function complain(message: string): void {
  print(2, `aperture-atomic: ${message}`);
}

/** Prints a line, at once. Who has stopped reading does not want it; errors have nowhere to go. */
function print(descriptor: number, line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let offset = 0; offset < bytes.byteLength;) {
    try {
      offset += fs.writeSync(descriptor, bytes, offset);
    } catch (error) {
      const code = codeOf(error);
      if (code === "EAGAIN") continue;
      if (descriptor === 2 || code === "EPIPE") return;
      throw error;
    }
  }
}

/** Whether this module is the program, and not imported by one. */
function isProgram(): boolean {
  // dnt-shim-ignore
  const { Deno } = globalThis as { Deno?: { mainModule: string } };
  const [self] = stackFiles().map(pathOf);
  const main = pathOf(Deno?.mainModule ?? process.argv[1] ?? "");
  // From a URL it is no file, and Deno tells it as it was asked for: `jsr:@aperture/atomic/cli`.
  if (self === undefined) return /[/\\](?:cli(?:\.[jt]s)?|aperture-atomic)$/.test(main);
  try {
    // Node finds a CommonJS file by its name without the ending too.
    if (self === main || self === `${main}.js`) return true;
    return fs.realpathSync(self) === fs.realpathSync(main);
  } catch {
    // Deno wants permission to read, to know where npm's link leads to; `node -e` has no file.
    return /[/\\]aperture-atomic$/.test(main);
  }
}

function pathOf(file: string): string {
  return file.startsWith("file:") ? fileURLToPath(file) : file;
}

if (isProgram()) void main(process.argv.slice(2)).then((code) => process.exit(code));
