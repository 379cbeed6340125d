import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { isatty } from "node:tty";
import { codeOf } from "../base/errors.ts";

/** The name of a signal that this process may get, and pass on. */
type Signal = "SIGALRM" | "SIGHUP" | "SIGINT" | "SIGQUIT" | "SIGTERM" | "SIGUSR1" | "SIGUSR2";

/** Those that ask a process to end. */
const ENDING: readonly Signal[] = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"];
/** Those that are for the command alone, but would end this process and so free its lock. */
const OTHERS: readonly Signal[] = ["SIGALRM", "SIGUSR1", "SIGUSR2"];
/** How long after the command a signal may be told that both got at once, in milliseconds. */
const LATE_SIGNAL_MS = 5;

/** A command that runs, with the standard input and errors of this process. */
interface Running {
  /** Its standard output, if it is not that of this process. */
  readonly output: AsyncIterable<Uint8Array> | undefined;
  /** Its exit code: 128 + n if signal n has ended it. */
  readonly ended: Promise<number>;
  kill(signal: Signal): void;
}

/** A command could not be started. */
export class StartError extends Error {
  override readonly name = "StartError";
  /** The exit code for that, as shells have it. */
  readonly exitCode: number;

  constructor(command: string, cause: unknown) {
    // `.` and `..` are directories in all of PATH.
    const code = /^\.\.?$/.test(command) ? "EACCES" : codeOf(cause);
    // As for a script whose lines end in CRLF.
    const isThere = code === "ENOENT" && command.includes("/") && fs.existsSync(command);
    const why = isThere
      ? "what its first line names is not found"
      : code === "ENOENT"
      ? "it is not found"
      : code === "EACCES"
      ? "it is not executable"
      : (cause as Error).message;
    super(`Cannot run '${command}': ${why}`, { cause });
    this.exitCode = code === "ENOENT" ? 127 : 126;
  }
}

/**
 * Runs a command and waits for its end, passing on to it what signals this process gets.
 *
 * @param use Gets its output, up to the end if it exits with 0. Without this the output is that of
 * this process.
 * @returns Its exit code: 128 + n if signal n has ended it, or if this process got signal n and so
 * its output is not to be used.
 */
export async function runCommand(
  [command, ...args]: readonly [string, ...string[]],
  use?: (output: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<number> {
  let running: Running | undefined = undefined;
  // Those of a terminal reach the command by themselves.
  const byItself: string[] = onTerminal() ? ["SIGINT", "SIGQUIT"] : [];
  // To the end of this process: Deno tells a signal late, and ends by one that nobody hears then.
  onSignals((signal) => running?.kill(signal), OTHERS);
  const told = new Promise<number>((resolve) => {
    onSignals((signal) => {
      resolve(signalCode(signal));
      if (!byItself.includes(signal)) running?.kill(signal);
    });
  });
  running = await start(command, args, use !== undefined);
  const used = use?.(running.output!);
  try {
    // What the command has started may hold its output open: after a failure or a signal nobody
    // wants it.
    const wanted = running.ended.then((code) => code === 0 ? Promise.race([used, told]) : null);
    await Promise.race([used, wanted]);
  } catch (error) {
    running.kill("SIGTERM");
    await running.ended;
    throw error;
  }
  const code = await running.ended;
  if (code !== 0 || use === undefined) return code;
  await new Promise((resolve) => setTimeout(resolve, LATE_SIGNAL_MS));
  return await Promise.race([told, 0]);
}

/**
 * Calls `fn` with each signal that asks this process to end, or with others, instead of ending. It
 * stops when the function that it returns is called.
 */
export function onSignals(
  fn: (signal: Signal) => void,
  signals: readonly Signal[] = ENDING,
): () => void {
  const known = process.platform === "win32"
    ? signals.filter((signal) => signal === "SIGINT")
    : signals;
  const listeners = known.map((signal) => [signal, () => fn(signal)] as const);
  for (const [signal, listener] of listeners) process.on(signal, listener);
  return () => {
    for (const [signal, listener] of listeners) process.off(signal, listener);
  };
}

/** The exit code that tells of an end by a signal. */
export function signalCode(signal: string): number {
  return 128 + ((constants.signals as Record<string, number>)[signal] ?? 0);
}

function onTerminal(): boolean {
  return [0, 1, 2].some((descriptor) => isatty(descriptor));
}

async function start(command: string, args: string[], piped: boolean): Promise<Running> {
  try {
    // dnt-shim-ignore
    return "Deno" in globalThis
      ? startOnDeno(command, args, piped)
      : await startOnNode(command, args, piped);
  } catch (error) {
    throw new StartError(command, error);
  }
}

/** As node:child_process would, which wants permission for the environment. */
function startOnDeno(command: string, args: string[], piped: boolean): Running {
  // dnt-shim-ignore
  const child = new Deno.Command(command, {
    args,
    stdin: "inherit",
    stdout: piped ? "piped" : "inherit",
    stderr: "inherit",
  }).spawn();
  return {
    output: piped ? child.stdout : undefined,
    ended: child.status.then(({ code, signal }) => signal === null ? code : signalCode(signal)),
    kill(signal) {
      try {
        child.kill(signal);
      } catch {
        // It has ended.
      }
    },
  };
}

function startOnNode(command: string, args: string[], piped: boolean): Promise<Running> {
  const child = spawn(command, args, {
    stdio: ["inherit", piped ? "pipe" : "inherit", "inherit"],
  });
  return new Promise((resolve, reject) => {
    // Not once: it tells too of each signal that this process may not send.
    child.on("error", reject);
    // Not "close", which waits for those too who have inherited its output.
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
