import { type ChildProcess, spawn, spawnSync, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { DirLock } from "../../mod.ts";
import { until } from "../support/child.ts";
import { endWithTest, isDeno, isWindows, type TestOptions } from "../support/test.ts";

export const onUnix: TestOptions = { skip: isWindows && "runs Unix commands" };
export const withTerminal: TestOptions = {
  skip: (process.platform !== "linux" || spawnSync("script", ["--version"]).status !== 0) &&
    "needs util-linux's script(1) to create a terminal",
};

/** The path of the entry-point module of `aperture-atomic`. */
export const cli: string = fileURLToPath(
  new URL(`../../cli.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url),
);

export type CommandLine = [string, ...string[]];

/**
 * Returns the command line that runs `aperture-atomic` on this runtime. On Deno, the command line
 * grants the permissions that the documentation lists.
 */
export function command(file: string = cli): CommandLine {
  if (!isDeno) return [process.execPath, file];
  const permissions = ["--allow-read", "--allow-write", "--allow-run", "--no-prompt", "--quiet"];
  const more = JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]");
  return [process.execPath, "run", ...permissions, ...more, file];
}

/** A running process. */
export class Run {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exit: Promise<unknown[]>;
  readonly #close: Promise<unknown[]>;
  #err = "";

  constructor([file, ...args]: CommandLine, cwd: string, stdio: StdioOptions = "pipe") {
    this.process = spawn(file, args, { cwd, stdio });
    this.#exit = once(this.process, "exit");
    this.#close = once(this.process, "close");
    this.#lines = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
    this.process.stderr?.on("data", (chunk) => this.#err += chunk);
    this.process.stdin?.on("error", () => {}); // The process may exit before it reads all input.
    endWithTest(this.process);
  }

  /** What the process has written to standard error so far. */
  get err(): string {
    return this.#err;
  }

  /** Returns the next line of standard output; throws if there is none. */
  async line(): Promise<string> {
    const { done, value } = await this.#lines.next();
    if (done) throw new Error(`The process exited with ${await this.exit()}: ${this.#err}`);
    return value.trimEnd();
  }

  /** Reads lines until one contains `part`, and returns that line. */
  async says(part: string): Promise<string> {
    for (;;) {
      const line = await this.line();
      if (line.includes(part)) return line;
    }
  }

  /** Waits until a condition is true; throws if the process exits first. */
  async until(condition: () => boolean): Promise<void> {
    try {
      await until(condition, this.process);
    } catch (error) {
      throw new Error(this.#err, { cause: error });
    }
  }

  /**
   * Sends a signal with process.kill(), because Deno's ChildProcess.kill() attributes any later
   * exit to the signal.
   */
  signal(signal: string): void {
    process.kill(this.process.pid!, signal);
  }

  /** Waits for the process to exit; returns its exit code or the signal that killed it. */
  async exit(): Promise<number | string> {
    const [code, signal] = await this.#exit;
    return (code ?? signal) as number | string;
  }

  /** Waits for the process to exit; returns its exit code and all of its output. */
  async end(): Promise<End> {
    const lines: string[] = [];
    for (let next; !(next = await this.#lines.next()).done;) lines.push(`${next.value}\n`);
    await this.#close;
    return { code: await this.exit(), out: lines.join(""), err: this.#err };
  }
}

/** The exit code and the output of a process that has exited. */
export interface End {
  code: number | string;
  out: string;
  err: string;
}

/** Starts `aperture-atomic`. */
export function start(cwd: string, ...args: string[]): Run {
  return new Run([...command(), ...args], cwd);
}

/**
 * Starts `aperture-atomic` in a new terminal, through which the test sends input and reads output.
 */
export function startOnTerminal(cwd: string, ...args: string[]): Run {
  const shell = `exec ${[...command(), ...args].map(quoted).join(" ")}`;
  return new Run(["script", "-qec", shell, "/dev/null"], cwd);
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** Runs `aperture-atomic` and waits for it to exit. */
export function run(cwd: string, args: string[], input = ""): Promise<End> {
  const running = start(cwd, ...args);
  running.process.stdin!.end(input);
  return running.end();
}

/** Runs a shell script, in which `"$@"` expands to `aperture-atomic` with these arguments. */
export function runInShell(cwd: string, script: string, ...args: string[]): Promise<End> {
  return new Run(["sh", "-c", script, "sh", ...command(), ...args], cwd).end();
}

/** Whether a directory's lock is free. */
export function isFree(dir: string): boolean {
  const lock = DirLock.tryAcquireSync(dir);
  lock?.release();
  return lock !== null;
}
