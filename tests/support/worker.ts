import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { parentPort, Worker } from "node:worker_threads";
import {
  AtomicFile,
  atomicUpdate,
  atomicUpdateSync,
  atomicWrite,
  atomicWriteSync,
  DirLock,
  LOCK_FILE_NAME,
  withDirLock,
} from "../../mod.ts";
import { clock } from "../../internal/base/clock.ts";
import { updateJson, updateJsonSync } from "../../json.ts";
import { blobOf, content, numberOf } from "./content.ts";
import { openDescriptors } from "./dir.ts";

/** Jobs for another process; {@linkcode Child} starts them. */
const jobs: Record<string, (...args: string[]) => Promise<void>> = {
  /**
   * Holds the lock until the next line. If several modes are given, holds it in each mode in turn.
   */
  async hold(dir, ...ways) {
    for (const way of ways.length > 0 ? ways : ["exclusive"]) {
      using _lock = await DirLock.acquire(dir!, { shared: way === "shared" });
      console.log("held");
      await line();
    }
  },

  /** For each line, which names a lock mode, prints whether the lock is free in that mode. */
  async try(dir) {
    for (let way; (way = await line()) !== undefined;) {
      const lock = await DirLock.tryAcquire(dir!, { shared: way === "shared" });
      console.log(lock === null ? "not free" : "free");
      lock?.release();
    }
  },

  /** Waits for the locks of `count` directories while it writes and reads a file. */
  async waitAndWrite(dir, count) {
    const waits = Array.from({ length: Number(count) }, async (_, i) => {
      (await DirLock.acquire(path.join(dir!, String(i)))).release();
    });
    const file = path.join(dir!, "file");
    for (let i = 0; i < 200; i++) {
      await atomicWrite(file, content(i, 1_000), { durability: "none" });
      numberOf(await fs.promises.readFile(file));
    }
    console.log("written");
    await Promise.all(waits);
    console.log("all served");
  },

  /** Holds the locks of `count` directories until the next line. */
  async holdMany(dir, count) {
    const locks = Array.from({ length: Number(count) }, (_, i) => {
      return DirLock.acquireSync(path.join(dir!, String(i)));
    });
    console.log("held");
    await line();
    for (const lock of locks) lock.release();
  },

  /**
   * Acquires the lock and starts a child process. On the next line, releases the lock while the
   * child is still running.
   */
  async spawnWhileHolding(dir) {
    const lock = await DirLock.acquire(dir!);
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    console.log("held");
    await line();
    lock.release();
    console.log("released");
    await line();
    child.kill();
  },

  /** Changes a JSON file until killed. */
  async updateJson(file, form) {
    type Value = { n: number; copies: number[] };
    const next = (value: Value | undefined): Value => {
      const n = (value?.n ?? 0) + 1;
      return { n, copies: new Array(2_000).fill(n) };
    };
    for (let i = 0;; i++) {
      if (form === "sync") updateJsonSync(file!, next);
      else await updateJson(file!, next);
      if (i === 0) console.log("updating");
    }
  },

  /** Increments a number in a JSON file. */
  async countJson(file, form, times) {
    const add = (value: { n: number } = { n: 0 }) => ({ n: value.n + 1 });
    for (let i = 0; i < Number(times); i++) {
      if (form === "sync") updateJsonSync(file!, add, { durability: "none" });
      else await updateJson(file!, add, { durability: "none" });
    }
  },

  /** Increments a counter by hand while holding the lock; a wrong total reveals any overlap. */
  async count(dir, times) {
    const file = path.join(dir!, "counter");
    for (let i = 0; i < Number(times); i++) {
      await withDirLock(dir!, async () => {
        const count = Number(fs.readFileSync(file, "utf8"));
        await new Promise((resolve) => setTimeout(resolve, 0));
        fs.writeFileSync(file, String(count + 1));
      });
    }
  },

  /** Increments a counter with `times` concurrent calls to atomicUpdate. */
  async update(file, times) {
    await Promise.all(Array.from({ length: Number(times) }, () => {
      return atomicUpdate(file!, (bytes) => {
        return String(bytes === null ? 1 : Number(new TextDecoder().decode(bytes)) + 1);
      });
    }));
  },

  /** Writes successive versions of several files concurrently until killed. */
  async write(durability, form, ...files) {
    const options = { durability: durability as "none" | "consistent" | "durable" };
    console.log("writing");
    await Promise.all(files.map(async (file) => {
      for (let number = 1;; number++) {
        const bytes = content(number, 1 + (number * 7919) % 100_000);
        if (form === "sync") atomicWriteSync(file, bytes, options);
        else await atomicWrite(file, bytes, options);
      }
    }));
  },

  /** Until killed, repeatedly acquires the lock and writes a file while holding it. */
  async lockAndWrite(dir) {
    console.log("writing");
    for (let number = 1;; number++) {
      using _lock = await DirLock.acquire(dir!);
      await atomicWrite(path.join(dir!, "file"), content(number, number % 50_000), {
        durability: "none",
      });
    }
  },

  /**
   * Increments a counter until killed. After each increment, appends a byte to the file `told` in
   * the same directory.
   */
  async countForEver(file) {
    const told = path.join(path.dirname(file!), "told");
    fs.writeFileSync(told, "");
    console.log("writing");
    for (;;) {
      await atomicUpdate(file!, (bytes) => {
        return String(bytes === null ? 1 : Number(new TextDecoder().decode(bytes)) + 1);
      }, { durability: "none" });
      fs.appendFileSync(told, ".");
    }
  },

  /**
   * Reads until the next line, checking that the content is never torn; prints the number of reads.
   */
  async read(file) {
    let reads = 0;
    let stop = false;
    line().then(() => stop = true);
    console.log("reading");
    for (; !stop; reads++) {
      numberOf(fs.readFileSync(file!));
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    console.log(reads);
  },

  /**
   * Tries to acquire the lock within `timeout` ms and prints the outcome; after that, nothing may
   * keep the process alive.
   */
  async giveUp(dir, how, timeout) {
    const options = how === "signal"
      ? { signal: AbortSignal.timeout(Number(timeout)) }
      : { timeout: Number(timeout) };
    const started = performance.now();
    try {
      await DirLock.acquire(dir!, options);
      console.log("acquired");
    } catch (error) {
      console.log((error as Error).name);
      console.log(Math.round(performance.now() - started));
    }
  },

  /** Blocks its thread until it acquires the lock. */
  acquireSync(dir) {
    console.log("blocking");
    using lock = DirLock.acquireSync(dir!);
    console.log(lock.released ? "not held" : "held");
    return Promise.resolve();
  },

  /**
   * Starts `count` concurrent waits, prints the number of threads and descriptors, and waits for a
   * line.
   */
  async crowd(dir, count) {
    const waits = Array.from({ length: Number(count) }, async () => {
      (await DirLock.acquire(dir!)).release();
    });
    await new Promise((resolve) => setTimeout(resolve, 500));
    console.log(fs.readdirSync("/proc/self/task").length);
    console.log(fs.readdirSync("/proc/self/fd").length);
    await line();
    await Promise.all(waits);
    console.log("all served");
  },

  /**
   * Writes too many bytes in each of several ways; prints each error's code and the directory's
   * entries.
   */
  async fail(dir, size) {
    const file = path.join(dir!, "file");
    const bytes = content(2, Number(size));
    for (const durability of ["none", "consistent", "durable"] as const) {
      const ways: Record<string, () => unknown> = {
        async: () => atomicWrite(file, bytes, { durability }),
        sync: () => atomicWriteSync(file, bytes, { durability }),
        stream: () => atomicWrite(file, blobOf(bytes), { durability }),
        update: () => atomicUpdate(file, () => bytes, { durability }),
      };
      for (const [way, write] of Object.entries(ways)) {
        let code = "written";
        try {
          await write();
        } catch (error) {
          code = (error as Error & { code: string }).code;
        }
        const left = fs.readdirSync(dir!).filter((name) => name !== LOCK_FILE_NAME);
        console.log([`${way}/${durability}`, code, ...left].join(" "));
      }
    }
    console.log("done");
  },

  /**
   * Writes once with a known temporary name: `.{name}.{16 ones}.tmp`. Prints the error's code and
   * `replaced`, and how many descriptors are open inside the directory.
   */
  async writeOnce(file, form, options) {
    const parsed = JSON.parse(options!);
    crypto.randomUUID = () => "11111111-1111-1111-1111-111111111111";
    const bytes = content(2, 20_000);
    let outcome = "written";
    try {
      if (form === "sync") atomicWriteSync(file!, bytes, parsed);
      else if (form === "stream") await atomicWrite(file!, blobOf(bytes), parsed);
      else await atomicWrite(file!, bytes, parsed);
    } catch (error) {
      const { code, replaced } = error as Error & { code: string; replaced: boolean };
      outcome = `${code} ${replaced}`;
    }
    console.log(`${outcome} ${openDescriptors(path.dirname(file!))}`);
  },

  /**
   * Repeatedly acquires and releases the lock for `time` ms, logging each turn in `log`; if
   * `shared` is not 0, only every `shared`th lock is exclusive. Reports any other holder that the
   * lock should have excluded.
   */
  async contend(dir, time, shared, name) {
    const [log, mark] = [path.join(dir!, "log"), path.join(dir!, `mark-${name}`)];
    const end = performance.now() + Number(time);
    let [turns, longest] = [0, 0];
    for (; performance.now() < end; turns++) {
      const asShared = Number(shared) > 0 && turns % Number(shared) > 0;
      const started = performance.now();
      using _lock = await DirLock.acquire(dir!, { shared: asShared });
      longest = Math.max(longest, performance.now() - started);
      fs.closeSync(fs.openSync(`${mark}-${asShared ? "shared" : "exclusive"}`, "wx"));
      const inside = fs.readdirSync(dir!).filter((entry) => entry.startsWith("mark-"));
      const bad = inside.length > 1 && inside.some((entry) => entry.endsWith("-exclusive"));
      if (bad) console.log(`overlap ${inside.join(" ")}`);
      if (!asShared) fs.appendFileSync(log, `${name}\n`);
      const held = performance.now() + 0.2;
      while (performance.now() < held);
      fs.unlinkSync(`${mark}-${asShared ? "shared" : "exclusive"}`);
    }
    console.log(`turns ${turns} ${Math.round(longest)}`);
  },

  /**
   * Locks and writes `count` times. Prints the descriptor and thread counts, heap usage (KiB) and
   * memory usage (MiB), halfway through and at the end.
   */
  async wear(dir, count) {
    const usage = () => {
      (globalThis as { gc?: () => void }).gc?.();
      const threads = fs.readdirSync("/proc/self/task").length;
      const { heapUsed, rss } = process.memoryUsage();
      return `${openDescriptors(dir!)} ${threads} ${heapUsed >> 10} ${rss >> 20}`;
    };
    const file = path.join(dir!, "file");
    const once = async (i: number) => {
      DirLock.acquireSync(dir!).release();
      using _lock = await DirLock.acquire(dir!, { timeout: 1_000 });
      const data = String(i);
      if (i % 2 === 0) atomicWriteSync(file, data, { durability: "none" });
      else await atomicWrite(file, data, { durability: "none" });
    };
    for (let half = 0; half < 2; half++) {
      for (let i = 0; i < Number(count) / 2; i++) await once(i);
      console.log(usage());
    }
  },

  /** Writes `count` files concurrently, then reads them. */
  async manyAtOnce(dir, count) {
    await Promise.all(Array.from({ length: Number(count) }, (_, i) => {
      return atomicWrite(path.join(dir!, String(i)), content(i, 100), { durability: "none" });
    }));
    for (let i = 0; i < Number(count); i++) {
      if (numberOf(fs.readFileSync(path.join(dir!, String(i)))) !== i) throw new Error(`${i}`);
    }
    console.log("written");
  },

  /** Replaces one file `times` times. */
  async writeMany(file, times) {
    for (let i = 0; i < Number(times); i++) {
      await atomicWrite(file!, content(i, 1_000), { durability: "none" });
    }
    console.log(`written by ${process.pid}`);
  },

  /** Increments a counter in several threads, which take turns holding the lock. */
  async threads(dir, count, times) {
    fs.writeFileSync(path.join(dir!, "counter"), "0");
    await Promise.all(
      Array.from({ length: Number(count) }, () =>
        new Promise<void>((resolve, reject) => {
          const argv = ["aperture-worker", "count", dir!, times!];
          const worker = new Worker(new URL(import.meta.url), { argv });
          worker.once("error", reject);
          worker.once("exit", (code) => code === 0 ? resolve() : reject(new Error(String(code))));
        })),
    );
    console.log(fs.readFileSync(path.join(dir!, "counter"), "utf8"));
  },

  /** Drops its reference to a lock and triggers garbage collection. */
  async dropLock(dir) {
    await DirLock.acquire(dir!);
    const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } };
    if (gc === undefined && Bun === undefined) throw new Error("Garbage cannot be collected");
    for (let i = 0; i < 20; i++) {
      gc === undefined ? Bun!.gc(true) : gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    console.log("collected");
    await line();
  },

  /** Acquires the lock in a thread that ends without releasing it. */
  async keep(dir, how) {
    await DirLock.acquire(dir!);
    parentPort!.postMessage("held");
    if (how === "exit") process.exit(0);
    if (how === "terminate") setInterval(() => {}, 1_000);
  },

  /**
   * Holds the lock until its thread exits, then records in `told` whether verify() still succeeds.
   */
  async useAtExit(dir) {
    const lock = await DirLock.acquire(dir!);
    process.on("exit", () => {
      const told = fs.openSync(path.join(dir!, "told"), "w");
      let is = "held";
      try {
        lock.verify();
      } catch (error) {
        is = (error as Error).name;
      }
      lock.release();
      // Even after the lock is released, the descriptor still refers to the file.
      fs.writeSync(told, is);
      fs.closeSync(told);
    });
    process.exit(0);
  },

  /** Runs a job in a thread and returns when the thread exits. */
  async inThread(job, dir) {
    const worker = new Worker(new URL(import.meta.url), { argv: ["aperture-worker", job!, dir!] });
    await new Promise((resolve, reject) => worker.once("error", reject).once("exit", resolve));
  },

  /**
   * Runs {@linkcode jobs.keep} in a thread. When the thread has ended, prints "ended" and whether
   * the lock is free.
   */
  async threadThatKeeps(dir, how) {
    const argv = ["aperture-worker", "keep", dir!, how!];
    // If trackUnmanagedFds is false, Node does not close the thread's descriptors when the thread
    // ends.
    const options = { argv, trackUnmanagedFds: how !== "untracked" };
    const worker = new Worker(new URL(import.meta.url), options);
    if (how === "terminate") worker.once("message", () => void worker.terminate());
    await new Promise((resolve, reject) => worker.once("error", reject).once("exit", resolve));
    console.log("ended");
    // On Deno, a thread keeps running for a moment after its exit event.
    // dnt-shim-ignore
    const timeout = "Deno" in globalThis ? 4_000 : 0;
    const lock = await DirLock.acquire(dir!, { timeout }).catch(() => null);
    console.log(lock === null ? "not free" : "free");
    lock?.release();
  },

  /**
   * Starts two waits of each chosen kind, usually for a lock that this process itself holds. Each
   * kind has its own directory in `dir`, and the clock runs ten times as fast. Prints each warning
   * with this clock's time, and exits after 25 s on this clock.
   */
  async nest(dir, ...chosen) {
    hurryTime(10);
    const started = clock.now();
    process.on("warning", ({ message }) => {
      console.log(`${Math.round(clock.now() - started)} ${message.replaceAll("\n", " ")}`);
    });
    const { signal } = new AbortController();
    const ways: Record<string, (dir: string) => Promise<unknown>> = {
      acquire: (dir) => withDirLock(dir, () => DirLock.acquire(dir)),
      update: (dir) => {
        const file = path.join(dir, "file");
        return atomicUpdate(file, async () => {
          await atomicUpdate(file, () => "inner");
          return "outer";
        });
      },
      timeout: (dir) => withDirLock(dir, () => DirLock.acquire(dir, { timeout: 60_000 })),
      signal: (dir) => withDirLock(dir, () => DirLock.acquire(dir, { signal })),
      // The warning here is about an update that waits for itself.
      handed: (dir) =>
        withDirLock(dir, (lock) => {
          const file = path.join(dir, "file");
          return atomicUpdate(file, async () => {
            await atomicUpdate(file, () => "inner", { lock });
            return "outer";
          }, { lock });
        }),
      handedWithSignal: (dir) =>
        withDirLock(dir, (lock) => {
          const file = path.join(dir, "file");
          return atomicUpdate(file, async () => {
            await atomicUpdate(file, () => "inner", { lock, signal });
            return "outer";
          }, { lock });
        }),
      other: () => DirLock.acquire(path.join(dir!, "other", "held")),
    };
    for (const way of chosen) {
      for (const name of ["one", "two"]) {
        ways[way]!(path.join(dir!, way, name)).catch(console.error);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 25_000));
    console.log("over");
    process.exit(0);
  },

  /**
   * Acquires locks in a process that also holds another version's state; prints the number of
   * warnings.
   */
  async besideOtherVersion(dir) {
    Object.assign(globalThis, {
      [Symbol.for("@aperture/atomic/locks/0")]: {},
      [Symbol.for("@aperture/atomic/turns/0")]: {},
    });
    let warnings = 0;
    process.on("warning", ({ message }) => {
      if (message.includes("Two versions")) warnings++;
    });
    for (let i = 0; i < 2; i++) (await DirLock.acquire(dir!)).release();
    await atomicUpdate(path.join(dir!, "file"), () => "x");
    await new Promise((resolve) => setTimeout(resolve, 10));
    console.log(`warnings: ${warnings}`);
  },

  /**
   * Updates a link to an idle FIFO, replacing the link; prints a line once the call has settled.
   */
  async updateFifo(file, form) {
    try {
      if (form === "sync") atomicUpdateSync(file!, () => "x", { symlinks: "replace" });
      else await atomicUpdate(file!, () => "x", { symlinks: "replace" });
    } catch {
      // The call may also fail.
    }
    console.log("ended");
  },

  /** Locks, updates and writes without Symbol.dispose, then prints whether the lock is free. */
  async withoutDispose(dir) {
    console.log(String(Symbol.dispose), String(Symbol.asyncDispose));
    const file = path.join(dir!, "file");
    const lock = await DirLock.acquire(dir!);
    lock.release();
    await withDirLock(dir!, () => atomicWrite(file, "one"));
    const append = (bytes: Uint8Array | null) => `${new TextDecoder().decode(bytes!)}, two`;
    await atomicUpdate(file, append);
    const temp = await AtomicFile.open(path.join(dir!, "stream"));
    await temp.write("three");
    await temp.commit();
    const free = await DirLock.tryAcquire(dir!);
    console.log(free === null ? "not free" : "free");
    free?.release();
  },
};

/** Speeds up the library's clock and this process's timers by a factor of `times`. */
function hurryTime(times: number): void {
  const { now, setInterval } = clock;
  clock.now = () => times * now();
  clock.setInterval =
    ((fn: () => void, milliseconds: number) =>
      setInterval(fn, milliseconds / times)) as typeof setInterval;
  const { setTimeout } = globalThis;
  globalThis.setTimeout =
    ((fn: () => void, milliseconds = 0) =>
      setTimeout(fn, milliseconds / times)) as typeof setTimeout;
}

let lines: AsyncIterator<string> | undefined;

/** Waits for a line from the test; returns undefined at the end of the input. */
async function line(): Promise<string | undefined> {
  lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const { done, value } = await lines.next();
  return done ? undefined : value;
}

async function main(job: string, args: string[]): Promise<void> {
  await jobs[job]!(...args);
}

// Tests import this file only so that it gets compiled; the import itself does nothing.
if (process.argv[2] === "aperture-worker") {
  main(process.argv[3]!, process.argv.slice(4)).catch((error) => {
    console.error(error);
    process.exit(70);
  });
}
