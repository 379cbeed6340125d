import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { isatty } from "node:tty";
import { bestEffort, codeOf } from "../base/errors.ts";
import type { Invocation } from "./arguments.ts";
import { ExitError } from "./errors.ts";

/** A signal that this process handles and forwards. */
type Signal = "SIGALRM" | "SIGHUP" | "SIGINT" | "SIGQUIT" | "SIGTERM" | "SIGUSR1" | "SIGUSR2";

/** Signals that request termination. */
export const ENDING: readonly Signal[] = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"];
/**
 * Signals meant for the command. Their default action would terminate this process and release its
 * lock.
 */
export const OTHERS: readonly Signal[] = ["SIGALRM", "SIGUSR1", "SIGUSR2"];
/** How long to wait, after the command exits, for a signal that both processes received. */
const LATE_SIGNAL_MS = 5;

/** A running command. It shares this process's standard input and standard error. */
interface Running {
  /** The command's standard output; undefined if it is inherited from this process. */
  readonly output: AsyncIterable<Uint8Array> | undefined;
  /** The command's exit code, or 128 + n if signal n killed it. */
  readonly ended: Promise<number>;
  kill(signal: Signal): void;
}

/**
 * Runs a command until it exits, and forwards signals to it.
 *
 * @param use Reads the command's output. If the command exits with 0, `use` is awaited, so that it
 * can read to the end. If `use` is omitted, the command writes to this process's standard output.
 * @returns The command's exit code, or 128 + n if signal n killed it. If `use` is given and this
 * process received signal n, an exit code of 0 becomes 128 + n, because the output may be
 * incomplete.
 */
export async function runCommand(
  invocation: Invocation,
  use?: (output: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<number> {
  let running: Running | undefined = undefined;
  // A terminal signals a whole process group, and a Windows console signals all of its processes.
  // On Windows, kill() would also terminate the command instead of interrupting it.
  const isShared = process.platform === "win32" ||
    [0, 1, 2].some((descriptor) => isatty(descriptor));
  const received = new Promise<number>((resolve) => {
    onSignals((signal) => {
      resolve(signalCode(signal));
      if (!isShared || !["SIGINT", "SIGQUIT"].includes(signal)) running?.kill(signal);
    });
  });
  onSignals((signal) => running?.kill(signal), OTHERS);
  running = await start(invocation, use !== undefined);
  const used = use?.(running.output!);
  try {
    // After a failure or a signal, don't wait for descendants that keep the output open.
    const wanted = running.ended.then((code) => {
      return code === 0 ? Promise.race([used, received]) : null;
    });
    await Promise.race([used, wanted]);
  } catch (error) {
    running.kill("SIGTERM");
    await running.ended;
    throw error;
  }
  const code = await running.ended;
  if (code !== 0 || use === undefined) return code;
  await new Promise((resolve) => setTimeout(resolve, LATE_SIGNAL_MS));
  return await Promise.race([received, 0]);
}

/**
 * Calls `fn` for each of the signals instead of taking the default action. Listeners are never
 * removed: Deno delivers signals late and takes the default action if the listener is gone by then.
 */
export function onSignals(
  fn: (signal: Signal) => void,
  signals: readonly Signal[] = ENDING,
): void {
  for (const signal of signals) {
    if (process.platform !== "win32" || signal === "SIGINT") process.on(signal, () => fn(signal));
  }
}

/** The exit code of a process that was killed by a signal. */
export function signalCode(signal: string): number {
  return 128 + ((constants.signals as Record<string, number>)[signal] ?? 0);
}

/**
 * Starts a command. Fails with the exit codes that shells use: 127 if the command is not found,
 * otherwise 126.
 */
export async function start(
  [program, ...args]: Invocation,
  isPiped: boolean,
): Promise<Running> {
  try {
    // dnt-shim-ignore
    return "Deno" in globalThis
      ? startOnDeno(program, args, isPiped)
      : await startOnNode(program, args, isPiped);
  } catch (error) {
    // `.` and `..` are always directories, which cannot be executed.
    const code = /^\.\.?$/.test(program) ? "EACCES" : codeOf(error);
    let why = (error as Error).message;
    // For example, a script with CRLF line endings.
    const isScript = code === "ENOENT" && program.includes("/") && existsSync(program);
    if (isScript) why = "the interpreter named in its first line was not found";
    else if (code === "ENOENT") why = "not found";
    else if (code === "EACCES") why = "not executable";
    if (process.platform === "win32") why += " (for a .cmd or .bat file, use cmd /c COMMAND)";
    throw new ExitError(code === "ENOENT" ? 127 : 126, `Cannot run '${program}': ${why}`);
  }
}

/** Avoids node:child_process, which requires permission to read the environment. */
function startOnDeno(program: string, args: string[], isPiped: boolean): Running {
  // dnt-shim-ignore
  const child = new Deno.Command(program, {
    args,
    stdin: "inherit",
    stdout: isPiped ? "piped" : "inherit",
    stderr: "inherit",
  }).spawn();
  return {
    output: isPiped ? child.stdout : undefined,
    ended: child.status.then(({ code, signal }) => signal === null ? code : signalCode(signal)),
    // Fails if the command has exited or runs as another user.
    kill: (signal) => bestEffort(() => child.kill(signal)),
  };
}

function startOnNode(program: string, args: string[], isPiped: boolean): Promise<Running> {
  const child = spawn(program, args, {
    stdio: ["inherit", isPiped ? "pipe" : "inherit", "inherit"],
  });
  return new Promise((resolve, reject) => {
    // Do not use once(): "error" is emitted again for each signal that this process is not allowed
    // to send.
    child.on("error", reject);
    // Do not use "close", which waits for descendants that keep the output open.
    const ended = new Promise<number>((resolve) => {
      child.once("exit", (code, signal) => resolve(code ?? signalCode(signal!)));
    });
    child.once("spawn", () => {
      resolve({
        output: child.stdout ?? undefined,
        ended,
        kill: (signal) => void child.kill(signal),
      });
    });
  });
}
