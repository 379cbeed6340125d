import { Buffer } from "node:buffer";
import { once } from "node:events";
import * as fs from "node:fs";
import { register } from "node:module";
import * as path from "node:path";
import process from "node:process";
import { MessageChannel } from "node:worker_threads";
import type * as Library from "../mod.ts";
import { jsonOf } from "./contests.ts";
import { peer, type Peers, urlOf } from "./peers.ts";

/** The input to a measurement, which runs in its own process. */
export interface Subject {
  /** The URL of the library. */
  readonly url: string;
  /** An empty directory; for contention, all processes share it. */
  readonly dir: string;
  /** A number, a size or a duration, depending on the measurement. */
  readonly count: number;
  /** The peer to measure instead of the library. */
  readonly of?: keyof Peers | undefined;
}

/** The type of each measurement's result, by name. */
export const measurements: Record<string, (subject: Subject) => Promise<unknown>> = {
  "drain": drain,
  "parallel": parallel,
  "import": importTime,
  "files": filesLoaded,
  "stream-memory": streamMemory,
  "waiter-memory": waiterMemory,
  "contend": contend,
  "update-together": (subject) => updateTogether(subject as Subject & { file: string }),
};

/** The durations of one process's updates, in milliseconds. */
export type Latencies = number[];

/**
 * Waits until all processes are ready, then makes `count` updates to a JSON file that the other
 * processes also update.
 */
export async function updateTogether(subject: Subject & { file: string }): Promise<Latencies> {
  const update = await updaterOf(subject);
  // Load and compile everything first, with a file that no other process updates.
  const warmUp = await updaterOf({ ...subject, file: `warm-up-${process.pid}.json` });
  for (let i = 0; i < 5; i++) await warmUp();
  await begun();
  const latencies: Latencies = [];
  for (let i = 0; i < subject.count; i++) {
    const started = performance.now();
    await update();
    latencies.push(performance.now() - started);
  }
  process.stdin.destroy();
  return latencies;
}

interface Counter {
  count: number;
}

/**
 * Returns a function that performs one update, using either our library or the peers
 * (write-file-atomic, and proper-lockfile with suitable retry options).
 */
async function updaterOf(subject: Subject & { file: string }): Promise<() => Promise<unknown>> {
  const file = path.join(subject.dir, subject.file);
  const add = (value: Counter = { count: 0 }) => ({ count: value.count + 1 });
  if (subject.of === undefined) {
    const { updateJson } = await jsonOf(subject.url);
    const lock = { lockFileName: `.${subject.file}.lock` };
    return () => updateJson<Counter>(file, add, { lock, durability: "none" });
  }
  const [proper, writeFileAtomic] = [peer("proper-lockfile")!, peer("write-file-atomic")!];
  const retries = { forever: true, minTimeout: 2, maxTimeout: 20, randomize: true };
  return async () => {
    const release = await proper.lock(file, { retries, realpath: false, stale: 60_000 });
    try {
      const value = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : undefined;
      await writeFileAtomic(file, Buffer.from(JSON.stringify(add(value))), { fsync: false });
    } finally {
      await release();
    }
  };
}

/** Reports that this process is ready, and waits for the start signal. */
async function begun(): Promise<void> {
  console.log("ready");
  process.stdin.resume();
  await once(process.stdin, "data");
}

function load({ url }: Subject): Promise<typeof Library> {
  return import(url);
}

/** Returns the time until all of `count` waiters for one lock have held it, in milliseconds. */
async function drain(subject: Subject): Promise<number> {
  const { DirLock } = await load(subject);
  const held = await DirLock.acquire(subject.dir);
  const waits = Array.from({ length: subject.count }, async () => {
    (await DirLock.acquire(subject.dir)).release();
  });
  await nothing();
  const started = performance.now();
  held.release();
  await Promise.all(waits);
  return performance.now() - started;
}

/** Returns the time it takes to write `count` files of 100 bytes concurrently, in milliseconds. */
async function parallel(subject: Subject): Promise<number> {
  const { atomicWrite } = await load(subject);
  const bytes = new Uint8Array(100);
  const files = Array.from(
    { length: subject.count },
    (_, i) => path.join(subject.dir, String(i)),
  );
  const started = performance.now();
  await Promise.all(
    files.map((file) => atomicWrite(file, bytes, { durability: "none" })),
  );
  return performance.now() - started;
}

/** Returns the duration of an import in a fresh process, in milliseconds. */
async function importTime(subject: Subject): Promise<number> {
  const { url, of } = subject;
  const target = of === undefined ? url : urlOf(of);
  const started = performance.now();
  await import(target);
  return performance.now() - started;
}

/** Returns the number of files that an import loads on Node. */
async function filesLoaded(subject: Subject): Promise<number> {
  const hooks = `
    let port;
    export const initialize = (data) => { port = data.port; };
    export const load = (url, context, next) => {
      if (url.startsWith("file:")) port.postMessage(url);
      return next(url, context);
    };`;
  const { port1, port2 } = new MessageChannel();
  const files = new Set<string>();
  port1.on("message", (url) => files.add(url)).unref();
  register(`data:text/javascript,${encodeURIComponent(hooks)}`, {
    parentURL: import.meta.url,
    data: { port: port2 },
    transferList: [port2],
  });
  await import(subject.of === undefined ? subject.url : urlOf(subject.of));
  // Wait for the messages that were posted before the import finished.
  await new Promise((resolve) => setTimeout(resolve, 100));
  return files.size;
}

/** Returns the growth in process memory, in MiB, while streaming `count` MiB in 64 KiB chunks. */
async function streamMemory(subject: Subject): Promise<number> {
  const { atomicWrite } = await load(subject);
  const file = path.join(subject.dir, "file");
  const chunk = new Uint8Array(65_536);
  let most = 0;
  async function* source(chunks: number) {
    for (let i = 0; i < chunks; i++) {
      if (i % 64 === 0) most = Math.max(most, process.memoryUsage().rss);
      yield chunk;
    }
  }
  await atomicWrite(file, source(256), { durability: "none" });
  collect();
  const before = most = process.memoryUsage().rss;
  await atomicWrite(file, source(subject.count * 16), { durability: "none" });
  fs.rmSync(file);
  return (Math.max(most, process.memoryUsage().rss) - before) / 2 ** 20;
}

/** Returns the memory that each of `count` waiters for a lock uses, in KiB. */
async function waiterMemory(subject: Subject): Promise<number> {
  const { DirLock } = await load(subject);
  const used = () => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const crowd = async (count: number) => {
    const held = await DirLock.acquire(subject.dir);
    const waits = Array.from(
      { length: count },
      () => DirLock.acquire(subject.dir),
    );
    await nothing();
    const full = used();
    held.release();
    for (const wait of waits) (await wait).release();
    return full;
  };
  await crowd(100);
  const before = used();
  return (await crowd(subject.count) - before) / subject.count / 1_024;
}

/**
 * Waits until all processes are ready, then counts how many turns this process gets in `count`
 * milliseconds. In each turn, the process holds the lock for 200 µs.
 */
async function contend(subject: Subject): Promise<number> {
  const turn = await turnOf(subject);
  for (let i = 0; i < 3; i++) await turn();
  await begun();
  const end = performance.now() + subject.count;
  let turns = 0;
  for (; performance.now() < end; turns++) await turn();
  process.stdin.destroy();
  return turns;
}

function hold(): void {
  for (const held = performance.now() + 0.2; performance.now() < held;);
}

async function turnOf(subject: Subject): Promise<() => Promise<void>> {
  if (subject.of === "proper-lockfile") {
    const proper = peer("proper-lockfile")!;
    const retries = { forever: true, minTimeout: 1, maxTimeout: 5 };
    return async () => {
      const release = await proper.lock(subject.dir, { retries });
      hold();
      await release();
    };
  }
  const { DirLock } = await load(subject);
  return async () => {
    const lock = await DirLock.acquire(subject.dir);
    hold();
    lock.release();
  };
}

function collect(): void {
  const { gc, Bun } = globalThis as {
    gc?: () => void;
    Bun?: { gc(force: boolean): void };
  };
  for (let i = 0; i < 3; i++) gc === undefined ? Bun?.gc(true) : gc();
}

/** Lets pending calls proceed to the point where they wait. */
function nothing(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 50));
}
