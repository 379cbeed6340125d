import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isDeno } from "./test.ts";

/** How a {@linkcode Child} is started. */
export interface ChildOptions {
  /** Shell commands to run first, in the same process. */
  shell?: string;
  /** More arguments for the runtime. */
  runtimeArgs?: string[];
  /** More of the environment. */
  env?: Record<string, string>;
  /** The command that runs a worker, when it is not this runtime. */
  worker?: string[];
}

/** A process that runs one of the jobs of worker.ts, of this runtime if nothing else is said. */
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
    this.#exit = once(this.process, "close");
    this.#lines = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
  }

  /** The next line that the job says; throws if it ends instead. */
  async line(): Promise<string> {
    const { done, value } = await this.#lines.next();
    if (done) throw new Error(`The child said nothing more: exit code ${await this.exit()}`);
    return value;
  }

  /** Waits until the job says `expected`. */
  async says(expected: string): Promise<void> {
    const line = await this.line();
    if (line !== expected) throw new Error(`Expected "${expected}": the child said "${line}"`);
  }

  /** Lets the job go on from where it waits for a line. */
  tell(line = ""): void {
    this.process.stdin!.write(`${line}\n`);
  }

  /** Waits for the end, with nothing more to tell: the exit code, or the name of the signal. */
  async exit(): Promise<number | string> {
    this.process.stdin!.end();
    const [code, signal] = await this.#exit;
    return (code ?? signal) as number | string;
  }

  /** Ends the process the hard way. */
  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.exit();
  }
}

/** The command that runs a worker of this runtime, from the same sources. */
function ownWorker(runtimeArgs: string[]): string[] {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const worker = fileURLToPath(new URL(`./worker.${extension}`, import.meta.url));
  const args = isDeno
    ? ["run", "-A", "--quiet", ...JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]")]
    : [];
  return [process.execPath, ...args, ...runtimeArgs, worker];
}
