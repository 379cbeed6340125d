import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { updateJson } from "../../json.ts";
import * as library from "../../mod.ts";
import { loadKoffi } from "../../runtime/native/koffi.ts";
import { content, numberOf } from "./content.ts";

const { atomicUpdate, AtomicFile, atomicWrite, atomicWriteSync, DirLock, withDirLock } = library;

/** Jobs that the proof runs in other processes; `Child` starts them. */
const jobs: Record<string, (...args: string[]) => Promise<void>> = {
  /**
   * Until killed, writes successive versions of several files in various ways. Records the start
   * and end of each write in `journal`, which is on a file system that loses nothing. `root` must
   * contain the directories `{durability}-{name}` and `shared-{durability}`.
   */
  async writeUntilCut(root, journal, durability, name, variant) {
    if (variant !== undefined) breakOnPurpose(variant);
    const note = noteIn(journal!);
    const own = (file: string) => `${durability}-${name}/${file}`;
    const pause = () => new Promise((go) => setTimeout(go, Math.random() * 30));
    const versions = async (file: string, write: (target: string, n: number) => unknown) => {
      for (let n = 1;; n++) {
        note("begun", file, n);
        await write(path.join(root!, file), n);
        note("done", file, n);
        await pause();
      }
    };
    const news = async (file: string, most: number, write: (target: string) => unknown) => {
      for (let n = 1; n <= most; n++) {
        const one = file.replace("*", String(n));
        note("begun", one, 1);
        await write(path.join(root!, one));
        note("done", one, 1);
        await pause();
      }
    };
    console.log("writing");
    if (durability === "bare") {
      await Promise.all([
        versions(own("replace"), async (target, n) => {
          await fs.promises.writeFile(`${target}.new`, content(n, someSize()));
          await fs.promises.rename(`${target}.new`, target);
        }),
        news(own("new-*"), 2_000, (target) => {
          return fs.promises.writeFile(target, content(1, someSize() >> 2));
        }),
      ]);
      return;
    }
    const options = { durability: durability as "none" | "consistent" | "durable" };
    await Promise.all([
      versions(own("replace"), (target, n) => {
        return atomicWrite(target, content(n, someSize()), options);
      }),
      versions(own("sync"), (target, n) => {
        atomicWriteSync(target, content(n, someSize() >> 4), options);
      }),
      // Every other version is empty.
      versions(own("zero"), (target, n) => {
        return atomicWrite(target, n % 2 === 0 ? "" : content(n, someSize()), options);
      }),
      versions(own("stream"), (target, n) => {
        return atomicWrite(target, inPieces(content(n, someSize())), options);
      }),
      versions(own("pieces"), async (target, n) => {
        const file = await AtomicFile.open(target, options);
        for await (const piece of inPieces(content(n, someSize()))) await file.write(piece);
        await file.commit();
      }),
      news(own("new-*"), 2_000, (target) => {
        return atomicWrite(target, content(1, someSize() >> 2), { ...options, createNew: true });
      }),
      news(own("dir-*/made"), 500, (target) => {
        return atomicUpdate(target, () => content(1, someSize() >> 6), options);
      }),
      news(own("deep-dir-*/with/more/made"), 500, (target) => {
        return atomicWrite(target, content(1, someSize() >> 4), { ...options, parents: true });
      }),
      count(),
      countJson(),
    ]);

    async function count(): Promise<void> {
      const file = `shared-${durability}/count`;
      for (;;) {
        let n = 0;
        await atomicUpdate(path.join(root!, file), (bytes) => {
          n = bytes === null ? 1 : numberOf(bytes) + 1;
          note("begun", file, n);
          return content(n, someSize() >> 6);
        }, options);
        note("done", file, n);
        await pause();
      }
    }

    async function countJson(): Promise<void> {
      const file = `shared-${durability}/count.json`;
      for (;;) {
        let n = 0;
        await updateJson(path.join(root!, file), (value) => {
          n = value === undefined ? 1 : (value as { n: number }).n + 1;
          note("begun", file, n);
          return { n, padding: "p".repeat(n % 5_000) };
        }, options);
        note("done", file, n);
        await pause();
      }
    }
  },

  /** Holds the lock until the next line, then prints whether it still holds the lock. */
  async hold(dir) {
    const lock = await DirLock.acquire(dir!);
    console.log("held");
    await line();
    try {
      lock.verify();
      console.log("verified");
    } catch (error) {
      console.log(codeOf(error));
    }
    lock.release();
  },

  /**
   * Repeatedly acquires and releases the lock for `time` ms; if `shared` is not 0, only every
   * `shared`th lock is exclusive. Reports any other holder that the lock should have excluded.
   * `how` can select a broken lock that relies on the existence of a file.
   */
  async contend(dir, time, shared, name, how) {
    const locked = { flock: lockByKernel, existence: lockByExistence }[how!]!;
    const end = performance.now() + Number(time);
    let [turns, longest] = [0, 0];
    for (; performance.now() < end; turns++) {
      const asShared = Number(shared) > 0 && turns % Number(shared) > 0;
      const mark = path.join(dir!, `mark-${name}-${asShared ? "shared" : "exclusive"}`);
      const started = performance.now();
      const release = await locked(dir!, asShared);
      longest = Math.max(longest, performance.now() - started);
      fs.closeSync(fs.openSync(mark, "wx"));
      const inside = fs.readdirSync(dir!).filter((entry) => entry.startsWith("mark-"));
      const bad = inside.length > 1 && inside.some((entry) => entry.endsWith("-exclusive"));
      if (bad) console.log(`overlap ${inside.join(" ")}`);
      fs.unlinkSync(mark);
      release();
    }
    console.log(`turns ${turns} ${Math.round(longest)}`);
  },

  /** Increments a counter `times` times with atomicUpdate; prints how many calls failed and why. */
  async update(file, times) {
    const failed: string[] = [];
    for (let i = 0; i < Number(times); i++) {
      try {
        await atomicUpdate(
          file!,
          (bytes) => content(bytes === null ? 1 : numberOf(bytes) + 1, 999),
        );
      } catch (error) {
        failed.push(codeOf(error));
      }
    }
    console.log(`failed ${failed.length} ${[...new Set(failed)].join(" ")}`);
  },

  /** Increments a counter by hand, in place, while holding the lock. */
  async countInPlace(dir, times) {
    const file = path.join(dir!, "counter");
    for (let i = 0; i < Number(times); i++) {
      await withDirLock(dir!, () => {
        const count = Number(fs.readFileSync(file, "utf8"));
        fs.writeFileSync(file, String(count + 1));
      });
    }
    console.log("counted");
  },

  /**
   * Reads until the next line, checking that the content is never torn. Prints the number of reads
   * and how many failed because the file was replaced after it was opened.
   */
  async read(file) {
    let [reads, stale, last, stop] = [0, 0, 0, false];
    line().then(() => stop = true);
    console.log("reading");
    while (!stop) {
      await new Promise((go) => setTimeout(go, 0));
      let bytes: Uint8Array;
      try {
        bytes = fs.readFileSync(file!);
      } catch (error) {
        if ((error as { errno?: number }).errno !== -ESTALE) throw error;
        stale++;
        continue;
      }
      const number = numberOf(bytes);
      if (number < last) console.log(`back from ${last} to ${number}`);
      last = number;
      reads++;
    }
    console.log(`reads ${reads} ${stale}`);
  },

  /**
   * For each line of input, writes the file under the lock; prints the outcome and the duration of
   * the write in ms.
   */
  async writeWhenTold(file) {
    console.log("ready");
    for (let number = 1;; number++) {
      await line();
      const started = performance.now();
      let outcome = "written";
      try {
        await atomicUpdate(file!, () => content(number, 5_000), {
          durability: "durable",
          lock: { timeout: 120_000 },
        });
      } catch (error) {
        const { code, step } = error as { code?: string; step?: string };
        outcome = `${code ?? (error as Error).name}${step === undefined ? "" : `/${step}`}`;
      }
      console.log(`${outcome} ${Math.round(performance.now() - started)}`);
    }
  },

  /** Runs each operation `times` times; prints the median and maximum durations in ms as JSON. */
  async measure(dir, times) {
    const file = path.join(dir!, "measured");
    const bytes = content(1, 4_088);
    const operations: Record<string, () => unknown> = {
      "atomicWrite, none": () => atomicWrite(file, bytes, { durability: "none" }),
      "atomicWrite, consistent": () => atomicWrite(file, bytes),
      "atomicWrite, durable": () => atomicWrite(file, bytes, { durability: "durable" }),
      "writeFile and rename by hand": async () => {
        await fs.promises.writeFile(`${file}.new`, bytes);
        await fs.promises.rename(`${file}.new`, file);
      },
      "lock and release, free": async () => (await DirLock.acquire(dir!)).release(),
      "atomicUpdate, consistent": () => atomicUpdate(file, () => bytes),
      "readFile": () => fs.promises.readFile(file),
    };
    const found: Record<string, [median: number, longest: number]> = {};
    for (const [name, operation] of Object.entries(operations)) {
      const took: number[] = [];
      for (let i = 0; i < Number(times); i++) {
        const started = performance.now();
        await operation();
        took.push(performance.now() - started);
      }
      took.sort((a, b) => a - b);
      found[name] = [took[took.length >> 1]!, took.at(-1)!];
    }
    console.log(JSON.stringify(found));
  },

  /** Writes once; prints the outcome as JSON. */
  async writeOnce(file, form, options) {
    const bytes = content(2, 20_000);
    let outcome = {};
    try {
      if (form === "sync") atomicWriteSync(file!, bytes, JSON.parse(options!));
      else if (form === "stream") await atomicWrite(file!, inPieces(bytes), JSON.parse(options!));
      else await atomicWrite(file!, bytes, JSON.parse(options!));
    } catch (error) {
      const { name, message, code, step, replaced, temp } = error as library.AtomicWriteError;
      outcome = { name, message, code, step, replaced, temp };
    }
    console.log(JSON.stringify(outcome));
  },

  /** Writes a stream of `mebibytes` MiB. */
  async writeMuch(file, mebibytes) {
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < Number(mebibytes); i++) {
        await new Promise((go) => setTimeout(go, 0));
        yield new Uint8Array(2 ** 20).fill(i);
      }
    }
    await atomicWrite(file!, source());
    console.log("written");
  },

  /**
   * Uses every feature of the library in `root`, with locks in `locks`, until it reads a line. In
   * the meantime, the disk may fill up, descriptors may run out, and the clock may be set back. The
   * line "usage" instead makes it pause and print the descriptor and thread counts, heap usage
   * (KiB) and memory usage (MiB). Reports failures in lines that start with "bad".
   */
  async soak(root, journal, locks, name) {
    const note = noteIn(journal!);
    const expected = new Set(["ENOSPC", "EMFILE", "ETIMEDOUT", "AbortError"]);
    const bad = (what: string) => console.log(`bad ${name}: ${what}`);
    let [running, resting, done, refused] = [true, false, 0, 0];
    const loops: Promise<void>[] = [];
    let active = 0;
    const repeat = (work: () => unknown, least: number, most: number) => {
      loops.push((async () => {
        while (running) {
          await new Promise((go) => setTimeout(go, least + Math.random() * (most - least)));
          if (resting) continue;
          active++;
          try {
            await work();
            done++;
          } catch (error) {
            refused++;
            const code = codeOf(error);
            if (!expected.has(code)) bad(`${code}: ${(error as Error).message}`);
          } finally {
            active--;
          }
        }
      })());
    };
    /** Reads as any other reader would; returns undefined if no descriptor is free. */
    const look = (file: string): number | undefined => {
      try {
        return numberOf(fs.readFileSync(file));
      } catch (error) {
        if (codeOf(error) === "ENOENT") return 0;
        if (codeOf(error) === "EMFILE") return undefined;
        throw error;
      }
    };
    const versions = (own: string, write: (file: string, n: number) => unknown) => {
      const file = path.join(root!, `${name}-${own}`);
      let last = look(file) ?? 0;
      let n = last;
      repeat(
        async () => {
          n++;
          note("begun", `${name}-${own}`, n);
          try {
            await write(file, n);
            last = n;
            note("done", `${name}-${own}`, n);
          } finally {
            const found = look(file);
            if (found !== undefined && found !== last) bad(`${own}: ${found}, not ${last}`);
          }
        },
        1,
        20,
      );
    };
    const size = () => Math.floor(Math.random() ** 6 * 1_000_000);

    for (const durability of ["none", "consistent", "durable"] as const) {
      versions(durability, (file, n) => atomicWrite(file, content(n, size()), { durability }));
    }
    versions("sync", (file, n) => atomicWriteSync(file, content(n, size() >> 3)));
    versions("stream", (file, n) => atomicWrite(file, inPieces(content(n, size()))));
    versions("pieces", async (file, n) => {
      await using replacement = await AtomicFile.open(file);
      for await (const piece of inPieces(content(n, size()))) await replacement.write(piece);
      await replacement.commit();
    });
    versions("crowd", async (file, n) => {
      const calls = [1, 2, 3, 4, 5].map(() => atomicWrite(file, content(n, size() >> 4)));
      const refused = (await Promise.allSettled(calls)).filter((one) => one.status === "rejected");
      if (refused.length === calls.length) throw refused[0]!.reason;
    });
    for (let i = 0; i < 2; i++) {
      repeat(
        async () => {
          let n = 0;
          await atomicUpdate(path.join(root!, "count"), (bytes) => {
            n = bytes === null ? 1 : numberOf(bytes) + 1;
            note("begun", "count", n);
            return content(n, 999);
          }, { lock: { timeout: 5_000 } });
          note("done", "count", n);
        },
        1,
        50,
      );
    }
    // A killed process with this name may have left this file.
    fs.rmSync(path.join(root!, `${name}-new`), { force: true });
    repeat(
      async () => {
        const file = path.join(root!, `${name}-new`);
        await atomicWrite(file, content(1, size()), { createNew: true });
        try {
          await atomicWrite(file, "", { createNew: true });
          bad("createNew replaced a file");
        } catch (error) {
          if (codeOf(error) !== "EEXIST") throw error;
        } finally {
          fs.unlinkSync(file);
        }
      },
      5,
      50,
    );
    repeat(
      async () => {
        const signal = AbortSignal.timeout(1);
        const aborted = atomicWrite(
          path.join(root!, `${name}-none`),
          inPieces(content(1, size())),
          {
            signal,
          },
        );
        await aborted.catch((error) => {
          if (error !== signal.reason) throw error;
        });
      },
      5,
      50,
    );
    let turn = 0;
    for (let i = 0; i < 2; i++) {
      repeat(
        async () => {
          const shared = Math.random() < 0.5;
          const lock = await DirLock.acquire(locks!, { shared, timeout: 2_000 });
          try {
            const kind = shared ? "shared" : "exclusive";
            const mark = path.join(locks!, `mark-${process.pid}-${turn++}-${kind}`);
            fs.mkdirSync(mark);
            try {
              const inside = fs.readdirSync(locks!).filter((entry) =>
                entry.startsWith("mark-") && (!shared || entry.endsWith("-exclusive"))
              );
              for (const entry of inside) {
                const other = path.join(locks!, entry);
                if (other !== mark && await isLeftByTheLiving(other)) {
                  bad(`overlap ${mark} ${entry}`);
                }
              }
            } finally {
              fs.rmdirSync(mark);
            }
          } finally {
            lock.release();
          }
        },
        1,
        20,
      );
    }
    // The age must exceed the duration of a write on a full disk with few descriptors; 20 s was too
    // short.
    repeat(() => library.sweepTempFiles(root!, { olderThan: 60_000 }), 500, 1_000);
    repeat(
      async () => {
        const held: number[] = [];
        try {
          for (;;) held.push(fs.openSync("/dev/null", "r"));
        } catch (error) {
          if (codeOf(error) !== "EMFILE") throw error;
          await new Promise((go) => setTimeout(go, 200));
        } finally {
          for (const descriptor of held) fs.closeSync(descriptor);
        }
      },
      2_000,
      6_000,
    );
    const { now } = Date;
    let back = 0;
    repeat(
      () => {
        back += Math.random() * 600_000;
        Date.now = () => now() - back;
      },
      1_000,
      3_000,
    );

    console.log("soaking");
    for (;;) {
      if (await line() !== "usage") break;
      resting = true;
      while (active > 0) await new Promise((go) => setTimeout(go, 10));
      // Wait until the thread pool's idle threads have exited.
      await new Promise((go) => setTimeout(go, 12_000));
      (globalThis as { gc?: () => void }).gc?.();
      giveBack();
      const counts = ["fd", "task"].map((of) => fs.readdirSync(`/proc/self/${of}`).length);
      const { heapUsed, rss } = process.memoryUsage();
      console.log(`usage ${[...counts, heapUsed >> 10, rss >> 20].join(" ")}`);
      resting = false;
    }
    running = false;
    await Promise.all(loops);
    console.log(`done ${done} ${refused}`);
    process.exit();
  },
};

/** Makes glibc return its free memory to the system; on Deno, this frees 70 of 195 MiB. */
function giveBack(): void {
  if (!("Deno" in globalThis)) {
    loadKoffi().load("libc.so.6").func("int malloc_trim(size_t)")(0);
    return;
  }
  const trim = { parameters: ["usize"], result: "i32" } as const;
  const libc = Deno.dlopen("libc.so.6", { malloc_trim: trim });
  libc.symbols.malloc_trim(0n);
  libc.close();
}

/** The errno of ESTALE, for which neither Node nor Deno has an error code. */
const ESTALE = 116;

/**
 * Whether a mark belongs to a live process. A killed process leaves its mark behind, and the kernel
 * frees the locks a moment before it reports the process as dead, so the check is repeated.
 */
async function isLeftByTheLiving(mark: string): Promise<boolean> {
  // Two processes that see each other's marks both wait here.
  for (let tries = 0; tries < 1_000 && fs.existsSync(mark); tries++) {
    if (!isAlive(Number(path.basename(mark).split("-")[1]))) return false;
    await new Promise((go) => setTimeout(go, 1));
  }
  return true;
}

function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes(codeOf(error))) return false;
    throw error;
  }
}

async function lockByKernel(dir: string, shared: boolean): Promise<() => void> {
  const lock = await DirLock.acquire(dir, { shared });
  return () => lock.release();
}

/** Locks the way many programs do: by creating a lock file if none exists. */
async function lockByExistence(dir: string): Promise<() => void> {
  const file = path.join(dir, "lock");
  while (fs.existsSync(file)) await new Promise((go) => setTimeout(go, 1));
  try {
    fs.writeFileSync(file, String(process.pid));
  } catch {
    return lockByExistence(dir); // Another machine has just removed it.
  }
  return () => fs.rmSync(file, { force: true });
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? (error as Error).name;
}

/** Opens a journal to which other processes also append. */
function noteIn(journal: string): (what: "begun" | "done", file: string, n: number) => void {
  const descriptor = fs.openSync(journal, "a");
  return (what, file, n) => void fs.writeSync(descriptor, `${what} ${file} ${n}\n`);
}

/** Returns a random size up to 4 MB, usually small. */
function someSize(): number {
  return Math.floor(Math.random() ** 6 * 4_000_000);
}

async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const size = 1 + Math.floor(Math.random() * 200_000);
  for (let at = 0; at < bytes.byteLength; at += size) {
    await new Promise((go) => setTimeout(go, 0));
    yield bytes.subarray(at, at + size);
  }
}

/**
 * Breaks one of the library's guarantees by replacing some of Deno's functions, to show that the
 * proof detects the failure.
 */
function breakOnPurpose(variant: string): void {
  const { sync, syncSync } = Deno.FsFile.prototype;
  const { link, linkSync, rename, renameSync } = Deno;
  const skipped = variant === "no sync of the directory"
    ? (info: Deno.FileInfo) => info.isDirectory
    : (info: Deno.FileInfo) => info.isFile;
  Deno.FsFile.prototype.sync = async function () {
    if (!skipped(this.statSync())) await sync.call(this);
  };
  Deno.FsFile.prototype.syncSync = function () {
    if (!skipped(this.statSync())) syncSync.call(this);
  };
  if (variant !== "sync after the rename") return;
  const late = async (to: string | URL) => {
    using file = Deno.openSync(to);
    await sync.call(file);
  };
  const lateSync = (to: string | URL) => {
    using file = Deno.openSync(to);
    syncSync.call(file);
  };
  Deno.rename = (from, to) => rename(from, to).then(() => late(to));
  Deno.link = (from, to) => link(from, to).then(() => late(to));
  Deno.renameSync = (from, to) => (renameSync(from, to), lateSync(to));
  Deno.linkSync = (from, to) => (linkSync(from, to), lateSync(to));
}

let lines: AsyncIterator<string> | undefined;

/** Waits for a line; exits at the end of the input. */
async function line(): Promise<string> {
  lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const { done, value } = await lines.next();
  if (done) process.exit();
  return value;
}

if (process.argv[2] === "aperture-worker") {
  jobs[process.argv[3]!]!(...process.argv.slice(4)).catch((error) => {
    console.error(error);
    process.exit(70);
  });
}
