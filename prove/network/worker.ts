import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { readJson, updateJson, updateJsonSync, writeJson } from "../../json.ts";
import {
  AtomicFile,
  atomicUpdate,
  atomicUpdateSync,
  atomicWrite,
  atomicWriteSync,
  DirLock,
  isTempName,
  lockHolders,
  sweepTempFiles,
  withDirLock,
} from "../../mod.ts";

/** A feature that some file systems lack. Checks that need it are skipped there. */
type Lack = "locks" | "modes" | "links";

/** A check that runs in its own directory and throws if it fails. */
interface Check {
  readonly name: string;
  readonly needs?: Lack;
  readonly run: (dir: string) => unknown;
}

const MEBIBYTE = new Uint8Array(2 ** 20).fill(7);

const CHECKS: readonly Check[] = [
  { name: "atomicWrite() creates", run: (dir) => written(dir, (file) => atomicWrite(file, "new")) },
  {
    name: "atomicWrite() replaces",
    run: (dir) => replaced(dir, (file) => atomicWrite(file, "new")),
  },
  {
    name: "atomicWriteSync() creates",
    run: (dir) => written(dir, (f) => atomicWriteSync(f, "new")),
  },
  {
    name: "atomicWriteSync() replaces",
    run: (dir) => replaced(dir, (f) => atomicWriteSync(f, "new")),
  },
  ...(["none", "consistent", "durable"] as const).map((durability) => ({
    name: `atomicWrite() with durability "${durability}"`,
    run: (dir: string) => replaced(dir, (file) => atomicWrite(file, "new", { durability })),
  })),
  {
    name: "atomicWrite() of a stream",
    run: (dir) =>
      replaced(dir, (file) =>
        atomicWrite(
          file,
          (async function* () {
            yield "n";
            yield "ew";
          })(),
        )),
  },
  {
    name: "AtomicFile commits",
    run: (dir) =>
      replaced(dir, async (target) => {
        await using file = await AtomicFile.open(target);
        await file.write("new");
        await file.commit();
      }),
  },
  {
    name: "AtomicFile discards",
    run: async (dir) => {
      fs.writeFileSync(`${dir}/file`, "old");
      const file = await AtomicFile.open(`${dir}/file`);
      await file.write("new");
      await file.discard();
      expect([text(`${dir}/file`), fs.readdirSync(dir)], ["old", ["file"]]);
    },
  },
  {
    name: "createNew creates",
    run: (dir) => written(dir, (file) => atomicWrite(file, "new", { createNew: true })),
  },
  {
    name: "createNew refuses a file",
    run: async (dir) => {
      fs.writeFileSync(`${dir}/file`, "old");
      const write = atomicWrite(`${dir}/file`, "new", { createNew: true });
      expect([await codeOf(write), text(`${dir}/file`)], ["EEXIST", "old"]);
    },
  },
  {
    name: "parents are created",
    run: (dir) =>
      written(path.join(dir, "a/b"), (file) => atomicWrite(file, "new", { parents: true })),
  },
  { name: "an empty file", run: (dir) => written(dir, (file) => atomicWrite(file, ""), "") },
  {
    name: "a large file",
    run: async (dir) => {
      await atomicWrite(`${dir}/file`, MEBIBYTE);
      expect(fs.readFileSync(`${dir}/file`).equals(MEBIBYTE), true);
    },
  },
  {
    name: "20 concurrent writes of one file",
    run: async (dir) => {
      await Promise.all(Array.from({ length: 20 }, (_, i) => atomicWrite(`${dir}/file`, `${i}`)));
      expect([text(`${dir}/file`), fs.readdirSync(dir)], ["19", ["file"]]);
    },
  },
  {
    name: "100 concurrent writes of files",
    run: async (dir) => {
      await Promise.all(Array.from({ length: 100 }, (_, i) => atomicWrite(`${dir}/${i}`, "new")));
      expect(fs.readdirSync(dir).length, 100);
    },
  },
  {
    name: "the mode is kept",
    needs: "modes",
    run: async (dir) => {
      fs.writeFileSync(`${dir}/file`, "old");
      fs.chmodSync(`${dir}/file`, 0o640);
      await atomicWrite(`${dir}/file`, "new");
      expect(fs.statSync(`${dir}/file`).mode & 0o7777, 0o640);
    },
  },
  {
    name: "the mode is set",
    needs: "modes",
    run: async (dir) => {
      await atomicWrite(`${dir}/file`, "new", { mode: 0o604 });
      expect(fs.statSync(`${dir}/file`).mode & 0o7777, 0o604);
    },
  },
  {
    name: "a symbolic link is followed",
    needs: "links",
    run: async (dir) => {
      fs.symlinkSync("file", `${dir}/link`);
      await atomicWrite(`${dir}/link`, "new");
      expect([fs.readlinkSync(`${dir}/link`), text(`${dir}/file`)], ["file", "new"]);
    },
  },
  {
    name: "temporary files are swept",
    run: async (dir) => {
      const name = ".file.0123456789abcdef.tmp";
      expect(isTempName(name), true);
      fs.writeFileSync(`${dir}/${name}`, "left");
      fs.utimesSync(`${dir}/${name}`, 1, 1);
      expect((await sweepTempFiles(dir)).length, 1);
    },
  },
  { name: "writeJson() and readJson()", run: (dir) => json(dir, (file, n) => writeJson(file, n)) },
  {
    name: "DirLock excludes and is freed",
    needs: "locks",
    run: async (dir) => {
      const lock = await DirLock.acquire(dir);
      expect(await DirLock.tryAcquire(dir), null);
      lock.verify();
      lock.release();
      DirLock.acquireSync(dir).release();
    },
  },
  {
    name: "DirLock can be shared",
    needs: "locks",
    run: async (dir) => {
      using _one = await DirLock.acquire(dir, { shared: true });
      using _other = await DirLock.acquire(dir, { shared: true });
      expect(await DirLock.tryAcquire(dir), null);
    },
  },
  {
    name: "DirLock.acquire() times out",
    needs: "locks",
    run: async (dir) => {
      using _lock = await DirLock.acquire(dir);
      expect(await codeOf(DirLock.acquire(dir, { timeout: 50 })), "ETIMEDOUT");
    },
  },
  {
    name: "withDirLock() returns its function's value",
    needs: "locks",
    run: async (dir) => expect(await withDirLock(dir, () => 7), 7),
  },
  {
    name: "atomicUpdate() loses no update",
    needs: "locks",
    run: async (dir) => {
      const add = (bytes: Uint8Array | null) => {
        return String(Number(new TextDecoder().decode(bytes ?? undefined)) + 1);
      };
      await Promise.all(Array.from({ length: 5 }, () => atomicUpdate(`${dir}/file`, add)));
      atomicUpdateSync(`${dir}/file`, add);
      expect(text(`${dir}/file`), "6");
    },
  },
  {
    name: "updateJson() updates",
    needs: "locks",
    run: (dir) => json(dir, (file, n) => updateJson(file, () => n)),
  },
  {
    name: "updateJsonSync() updates",
    needs: "locks",
    run: (dir) => json(dir, (file, n) => updateJsonSync(file, () => n)),
  },
];

const held: DirLock[] = [];
let reading = { stop: false, done: Promise.resolve<unknown>(undefined) };

/** The commands that the network proof runs on the machines. */
const commands: Record<string, (...args: string[]) => unknown> = {
  pid: () => process.pid,
  basics,
  acquire: async (dir) => void held.push(await DirLock.acquire(dir!)),
  verify: () => held.at(-1)!.verify(),
  release: () => held.pop()!.release(),

  /**
   * Tries to acquire the lock. Returns "free" if the lock was free, otherwise the holders that the
   * library finds.
   */
  async try(dir) {
    const lock = await DirLock.tryAcquire(dir!);
    if (lock === null) return lockHolders(dir!);
    lock.release();
    return "free";
  },

  /** Opens the file as an editor or a backup would, so that the old file stays on the server. */
  open: (file) => void fs.openSync(file!, "r"),
  read: (file) => text(file!).trim(),

  /**
   * Increments the number in a JSON file, using `updateJson`, `updateJsonSync` or handwritten code.
   */
  async add(file, how) {
    const add = (n: unknown) => Number(n ?? 0) + 1;
    if (how === "async") await updateJson(file!, add);
    else if (how === "sync") updateJsonSync(file!, add);
    else {
      await withDirLock(path.dirname(file!), () => {
        fs.writeFileSync(`${file}.new`, JSON.stringify(add(JSON.parse(text(file!)))));
        fs.renameSync(`${file}.new`, file!);
      });
    }
  },

  /** Increments the number in a JSON file, `times` times. */
  async addMany(file, times) {
    for (let i = 0; i < Number(times); i++) await commands.add!(file!, "async");
  },

  /**
   * Replaces the file with each number from 1 to `times`; returns how often the system refused.
   * With `vanish`, every other old file is opened and then removed, so that its name is missing for
   * 100 ms. An NFS client does the same when it replaces an open file; 166 ms were observed.
   */
  async replace(file, times, vanish) {
    let refused = 0;
    for (let i = 1; i <= Number(times); i++) {
      await pause(300);
      fs.writeFileSync(`${file}.new`, String(i));
      const old = vanish === "true" && i % 2 === 1 ? fs.openSync(file!, "r") : undefined;
      try {
        if (old !== undefined) {
          fs.unlinkSync(file!);
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
        }
        fs.renameSync(`${file}.new`, file!);
      } catch {
        refused++;
      }
      if (old !== undefined) fs.closeSync(old);
    }
    return refused;
  },

  /**
   * Reads with `readJson` until the `stopReading` command, which returns the number of reads and
   * any errors.
   */
  startReading(file) {
    reading = { stop: false, done: Promise.resolve() };
    reading.done = readMany(file!, reading);
  },
  stopReading() {
    reading.stop = true;
    return reading.done;
  },
};

/** Jobs for `Child`. */
const jobs: Record<string, (...args: string[]) => unknown> = {
  async basics(dir, lacks) {
    console.log(JSON.stringify(await basics(dir!, lacks!)));
  },

  /** Reads commands, one JSON array per line. Runs each command and prints its result or error. */
  async obey() {
    const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
    for (;;) {
      const { done, value } = await lines.next();
      if (done) process.exit();
      const [name, ...args] = JSON.parse(value);
      try {
        console.log(JSON.stringify({ value: await commands[name]!(...args) }));
      } catch (error) {
        console.log(JSON.stringify({ error: failure(error) }));
      }
    }
  },
};

/**
 * Runs all checks except those that need a feature named in `lacks`. Returns how many checks ran
 * and which failed.
 */
async function basics(dir: string, lacks: string): Promise<{ count: number; failures: string[] }> {
  const failures: string[] = [];
  const checks = CHECKS.filter(({ needs }) => needs === undefined || !lacks.includes(needs));
  for (const [i, { name, run }] of checks.entries()) {
    const own = path.join(dir, String(i));
    fs.mkdirSync(own);
    try {
      await run(own);
    } catch (error) {
      failures.push(`${name}: ${error}`);
    }
  }
  return { count: checks.length, failures };
}

async function readMany(file: string, until: { stop: boolean }): Promise<unknown> {
  let [reads, missing, last] = [0, 0, 0];
  const failures: string[] = [];
  while (!until.stop) {
    await pause(0);
    try {
      const value = await readJson(file);
      if (value === undefined) missing++;
      else if (Number(value) < last) failures.push(`from ${last} back to ${value}`);
      else last = Number(value);
      reads++;
    } catch (error) {
      failures.push(failure(error));
    }
  }
  return { reads, missing, failures: failures.slice(0, 5) };
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((go) => setTimeout(go, milliseconds));
}

function failure(error: unknown): string {
  return `${(error as { code?: string }).code}: ${(error as Error).message}`;
}

async function written(
  dir: string,
  write: (file: string) => unknown,
  expected = "new",
): Promise<void> {
  await write(`${dir}/file`);
  expect([text(`${dir}/file`), fs.readdirSync(dir)], [expected, ["file"]]);
}

function replaced(dir: string, write: (file: string) => unknown): Promise<void> {
  fs.writeFileSync(`${dir}/file`, "old");
  return written(dir, write);
}

async function json(dir: string, write: (file: string, n: number) => unknown): Promise<void> {
  await write(`${dir}/file.json`, 7);
  expect(await readJson(`${dir}/file.json`), 7);
}

function text(file: string): string {
  return fs.readFileSync(file, "utf8");
}

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return await promise.then(() => undefined, (error) => error.code ?? error.name);
}

function expect(actual: unknown, expected: unknown): void {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== e) throw new Error(`expected ${e}, got ${a}`);
}

if (process.argv[2] === "aperture-worker") {
  Promise.resolve(jobs[process.argv[3]!]!(...process.argv.slice(4))).catch((error) => {
    console.error(error);
    process.exit(70);
  });
}
