import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { createInterface } from "node:readline";
import type { Runtime } from "./setup.ts";

/** How to run a measurement, and where. */
export interface Bench {
  /** The directory in which each measurement gets its own subdirectory. */
  readonly dir: string;
  readonly quick: boolean;
  /** The number of calls that a contender makes per turn. */
  readonly calls: number;
}

/** Measurements that take longer than this are killed. */
const TIMEOUT_MS = 300_000;

let number = 0;

/** Calls `fn` with an empty directory. */
async function inNewDir<T>(
  dir: string,
  fn: (dir: string) => Promise<T>,
): Promise<T> {
  const own = path.join(dir, String(number++));
  fs.mkdirSync(own);
  try {
    return await fn(own);
  } finally {
    fs.rmSync(own, { recursive: true });
  }
}

/**
 * Runs a measurement in a worker process and returns the result. `shell` is a script that runs
 * first in that process.
 */
export function work<T>(
  bench: Pick<Bench, "dir">,
  runtime: Runtime,
  name: string,
  given: Record<string, unknown>,
  shell?: string,
): Promise<T> {
  return inNewDir(bench.dir, async (dir) => {
    const child = start(runtime, name, { ...given, dir }, shell);
    try {
      return JSON.parse(await said(child, name));
    } finally {
      await ended(child);
    }
  });
}

/** Lets `count` processes compete for a lock; returns how many turns each process got. */
export function crowd(
  bench: Pick<Bench, "dir">,
  who: Runtime | string,
  count: number,
  milliseconds: number,
  of?: string,
): Promise<number[]> {
  return inNewDir(bench.dir, async (dir) => {
    const { results } = await together<number>(
      count,
      () =>
        typeof who === "string"
          ? spawn(who, [path.join(dir, ".aperture.lock"), String(milliseconds)], {
            stdio: ["pipe", "pipe", "inherit"],
          })
          : start(who, "contend", { dir, count: milliseconds, of }),
    );
    return results;
  });
}

/** The result of concurrent updates by several processes. */
export interface Together {
  readonly updatesPerSecond: number;
  /** The 99th-percentile update duration, in milliseconds. */
  readonly p99: number;
}

/**
 * The number of updates per process. With 64 processes, the peers would take minutes for 50
 * updates.
 */
export function updatesEach(count: number): number {
  return count < 64 ? 50 : 20;
}

/** Runs `count` processes that update either one shared JSON file or one file each. */
export function updates(
  bench: Pick<Bench, "dir">,
  runtime: Runtime,
  count: number,
  own: boolean,
  of?: string,
): Promise<Together> {
  return inNewDir(bench.dir, async (dir) => {
    const each = updatesEach(count);
    const file = (i: number) => own ? `file-${i}.json` : "file.json";
    const { results, milliseconds } = await together<number[]>(
      count,
      (i) => start(runtime, "update-together", { dir, count: each, of, file: file(i) }),
    );
    for (let i = 0; i < (own ? count : 1); i++) {
      const found = JSON.parse(fs.readFileSync(path.join(dir, file(i)), "utf8")).count;
      const expected = own ? each : count * each;
      if (found !== expected) throw new Error(`${expected} updates left a count of ${found}`);
    }
    const latencies = results.flat().sort((a, b) => a - b);
    return {
      updatesPerSecond: latencies.length / milliseconds * 1_000,
      p99: latencies[Math.floor(latencies.length * 0.99)]!,
    };
  });
}

/** Starts processes, lets them all begin simultaneously, and collects their results. */
async function together<T>(
  count: number,
  begin: (i: number) => ChildProcess,
): Promise<{ results: T[]; milliseconds: number }> {
  const children = Array.from({ length: count }, (_, i) => begin(i));
  const lines = children.map((child) => {
    return createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  });
  const next = async (i: number) => {
    const { done, value } = await lines[i]!.next();
    if (done) throw new Error("A process ended before it reported");
    return value as string;
  };
  try {
    await Promise.all(children.map((_, i) => next(i)));
    const started = performance.now();
    for (const child of children) child.stdin!.write("\n");
    const results = await Promise.all(
      children.map(async (_, i) => JSON.parse(await next(i)) as T),
    );
    return { results, milliseconds: performance.now() - started };
  } finally {
    await Promise.all(children.map(ended));
  }
}

function start(
  { command, exposeGc, library }: Runtime,
  name: string,
  given: Record<string, unknown>,
  shell?: string,
): ChildProcess {
  const worker = command.at(-1)!;
  let args = [
    ...command.slice(0, -1),
    ...exposeGc,
    worker,
    name,
    JSON.stringify({ url: library, ...given }),
  ];
  if (shell !== undefined) {
    args = ["bash", "-c", `${shell}; exec "$@"`, "bash", ...args];
  }
  return spawn(args[0]!, args.slice(1), {
    stdio: ["pipe", "pipe", "inherit"],
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
}

async function said(child: ChildProcess, name: string): Promise<string> {
  let output = "";
  child.stdout!.setEncoding("utf8").on("data", (text) => output += text);
  const [code, signal] = await once(child, "close");
  if (code !== 0) throw new Error(`${name} ended with ${code ?? signal}`);
  return output.trimEnd().split("\n").at(-1)!;
}

async function ended(child: ChildProcess): Promise<void> {
  child.stdin!.destroy();
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await exit;
  clearTimeout(timer);
}
