import { statSync } from "node:fs";
import process from "node:process";
import { isatty } from "node:tty";
import { DirLock, lockHolders, LockTimeoutError } from "../../lock.ts";
import { codeOf } from "../base/errors.ts";
import {
  type Command,
  command,
  exitCode,
  flag,
  invocationOf,
  lockFileName,
  seconds,
} from "./arguments.ts";
import { EX_IOERR, EX_TEMPFAIL, ExitError, UsageError } from "./errors.ts";
import { complain } from "./print.ts";
import { onSignals, runCommand, signalCode } from "./process.ts";

/** How long the command waits for the lock before printing a notice. */
const NOTICE_AFTER_MS = 1_000;

/** `lock DIR COMMAND`: runs a command while holding a directory's lock. */
export const lock: Command = command("DIR", {
  shared: { ...flag, short: "s" },
  exclusive: { ...flag, short: "x" },
  nonblock: { ...flag, short: "n" },
  try: flag,
  timeout: { short: "w", ...seconds },
  wait: seconds,
  "conflict-code": { short: "E", ...exitCode },
  "conflict-exit-code": exitCode,
  "lock-file": lockFileName,
  parents: flag,
  verbose: flag,
}, async (given) => {
  const { operand: dir, options } = given;
  const { shared = false, "lock-file": lockFile, verbose = isatty(2) } = options;
  const conflictCode = options["conflict-code"] ?? options["conflict-exit-code"] ?? EX_TEMPFAIL;
  const timeout = options.nonblock || options.try ? 0 : options.timeout ?? options.wait ?? Infinity;
  if (shared && options.exclusive) {
    throw new UsageError("--shared and --exclusive cannot be combined");
  }
  const invocation = invocationOf(given);
  if (!options.parents && isMissing(dir)) {
    const why = "no such directory (use --parents to create it)";
    throw new ExitError(EX_IOERR, `Cannot lock '${dir}': ${why}`);
  }
  const name = lockFile === undefined ? {} : { lockFileName: lockFile };
  let held: DirLock | undefined;
  let notice: ReturnType<typeof setTimeout> | undefined;
  // Exit explicitly, since PID 1 in a container ignores signals by default.
  onSignals((signal) => {
    if (held === undefined) process.exit(signalCode(signal));
  });
  const sayWaiting = async () => {
    const pids = await lockHolders(dir, name).catch(() => null);
    if (notice !== undefined) complain(`Waiting for the lock on '${dir}'${heldBy(pids)}`);
  };
  try {
    held = await DirLock.acquire(dir, {
      ...name,
      shared,
      timeout,
      onWait() {
        if (verbose) notice = setTimeout(sayWaiting, NOTICE_AFTER_MS);
      },
    });
  } catch (error) {
    if (!(error instanceof LockTimeoutError)) throw error;
    if (verbose) complain(`The lock on '${dir}' is not free${heldBy(error.holders)}`);
    return conflictCode;
  } finally {
    clearTimeout(notice);
    notice = undefined;
  }
  try {
    return await runCommand(invocation);
  } finally {
    held.release();
  }
});

function isMissing(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (error) {
    return codeOf(error) === "ENOENT"; // Other errors surface when locking.
  }
}

function heldBy(pids: readonly number[] | null): string {
  if (pids === null || pids.length === 0) return "";
  return ` (held by process${pids.length === 1 ? "" : "es"} ${pids.join(", ")})`;
}
