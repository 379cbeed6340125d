import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { endWithTest, isDeno } from "./test.ts";

/** How a {@linkcode Child} is started. */
export interface ChildOptions {
  /** Shell commands to run first; the runtime then replaces the shell in the same process. */
  shell?: string;
  /** Additional arguments for the runtime. */
  runtimeArgs?: string[];
  /** Additional environment variables. */
  env?: Record<string, string>;
  /** The command that runs a worker on another runtime. */
  worker?: string[];
}

/**
 * A process that runs one of the jobs in worker.ts, on this runtime unless `worker` names another.
 */
export class Child {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exit: Promise<unknown[]>;

  /** Starts a job. */
  constructor(job: string, args: (string | number)[] = [], options: ChildOptions = {}) {
    let command = [
      ...options.worker ?? ownWorker(options.runtimeArgs ?? []),
      "aperture-worker",
      job,
      ...args.map(String),
    ];
    if (options.shell !== undefined) {
      command = ["bash", "-c", `${options.shell}; exec "$@"`, "bash", ...command];
    }
    this.process = spawn(command[0]!, command.slice(1), {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...options.env },
    });
    endWithTest(this.process);
    // Writing to a process that has exited must not fail the test; exit() reports how it exited.
    this.process.stdin!.on("error", () => {});
    this.#exit = once(this.process, "close");
    this.#exit.catch(() => {}); // Reported by exit().
    this.#lines = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
  }

  /** Returns the next line that the job prints; throws if the job exits instead. */
  async line(): Promise<string> {
    const { done, value } = await this.#lines.next();
    if (done) throw new Error(`The child ended with ${await this.exit()} instead of a line`);
    return value;
  }

  /** Waits for the job's next line, which must be `expected`. */
  async says(expected: string): Promise<void> {
    const line = await this.line();
    if (line !== expected) throw new Error(`Expected "${expected}": the child said "${line}"`);
  }

  /** Sends the job a line, which lets it continue if it is waiting for one. */
  tell(line = ""): void {
    this.process.stdin!.write(`${line}\n`);
  }

  /**
   * Closes the job's input and waits for the process to exit; returns its exit code or the signal
   * that killed it.
   */
  async exit(): Promise<number | string> {
    this.process.stdin!.end();
    const [code, signal] = await this.#exit;
    return (code ?? signal) as number | string;
  }

  /** Kills the process and waits for it to exit. */
  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.exit();
  }
}

/** Waits until a condition is true; throws if the process exits first. */
export async function until(condition: () => boolean, child: ChildProcess): Promise<void> {
  while (!condition()) {
    if ((child.exitCode ?? child.signalCode) !== null && !condition()) {
      throw new Error(`The child ended too early, with ${child.exitCode ?? child.signalCode}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Returns the command that runs worker.ts, or its compiled form, on this runtime. */
function ownWorker(runtimeArgs: string[]): string[] {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const worker = fileURLToPath(new URL(`./worker.${extension}`, import.meta.url));
  const args = isDeno
    ? ["run", "-A", "--quiet", ...JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]")]
    : [];
  return [process.execPath, ...args, ...runtimeArgs, worker];
}
