import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import {
  AtomicFile,
  atomicUpdate,
  atomicUpdateSync,
  atomicWrite,
  atomicWriteSync,
  DirLock,
  lockHolders,
  sweepTempFiles,
  withDirLock,
} from "../../mod.ts";
import { inTempDir, list } from "../support/dir.ts";
import { recorded } from "../support/runtime.ts";
import { test } from "../support/test.ts";

// deno-lint-ignore no-explicit-any
type Any = any;
type Failure = typeof TypeError | typeof RangeError;

const badWriteOptions: [Any, Failure][] = [
  [null, TypeError],
  [[], TypeError],
  [1, TypeError],
  ["durable", TypeError],
  [{ durabilty: "durable" }, TypeError],
  [{ durability: 1 }, TypeError],
  [{ durability: "fsync" }, RangeError],
  [{ mode: "644" }, TypeError],
  [{ mode: -1 }, RangeError],
  [{ mode: 0o10000 }, RangeError],
  [{ mode: 6.5 }, RangeError],
  [{ mode: NaN }, RangeError],
  [{ createNew: 1 }, TypeError],
  [{ symlinks: true }, TypeError],
  [{ symlinks: "reject" }, RangeError],
  [{ mode: 644 }, RangeError],
  [new Map([["durability", "durable"]]), TypeError],
  [new Date(0), TypeError],
  [new AbortController().signal, TypeError],
];
const badHoldersOptions: [Any, Failure][] = [
  [null, TypeError],
  [[], TypeError],
  [{ lockFile: "a" }, TypeError],
  [{ lockFileName: 1 }, TypeError],
  [{ lockFileName: "" }, RangeError],
  [{ lockFileName: "." }, RangeError],
  [{ lockFileName: ".." }, RangeError],
  [{ lockFileName: "a/b" }, RangeError],
  [{ lockFileName: "a\\b" }, RangeError],
  [{ lockFileName: "a\0" }, RangeError],
];
const badTryOptions: [Any, Failure][] = [
  ...badHoldersOptions,
  [{ share: true }, TypeError],
  [{ shared: "yes" }, TypeError],
];
const badAcquireSyncOptions: [Any, Failure][] = [
  ...badTryOptions,
  [{ timeout: "1s" }, TypeError],
  [{ timeout: -1 }, RangeError],
  [{ timeout: NaN }, RangeError],
  [{ onWait: true }, TypeError],
];
const badSignal: [Any, Failure][] = [[{ signal: {} }, TypeError], [{ signal: null }, TypeError]];
const badSweepOptions: [Any, Failure][] = [
  [null, TypeError],
  [{ olderThan: "1h" }, TypeError],
  [{ olderThan: -1 }, RangeError],
  [{ olderThan: NaN }, RangeError],
  [{ older: 1 }, TypeError],
];
const badPaths: [Any, Failure][] = [
  [undefined, TypeError],
  [null, TypeError],
  [1, TypeError],
  [{}, TypeError],
  ["", TypeError],
  ["a\0b", TypeError],
  [new URL("https://example.com/a"), TypeError],
  [new URL("file:///a%00b"), TypeError],
];
const badData: Any[] = [undefined, null, 1, true, {}, [1, 2], new Date(0), Symbol("s"), () => "x"];
const asyncOnlyData: Any[] = [new Blob(["x"]), new ReadableStream(), (async function* () {})()];

/** A call with one invalid argument. */
interface Case {
  readonly title: string;
  /** Checks that the call fails with `failure` when passed `bad`. */
  fails(bad: Any, good: string, failure: Failure): void | Promise<unknown>;
  readonly bad: [Any, Failure][];
}

/** Calls that must be rejected. */
function cases(
  title: string,
  bad: [Any, Failure][],
  call: (bad: Any, good: string) => Promise<unknown>,
): Case {
  return { title, bad, fails: (bad, good, as) => assertRejects(() => call(bad, good), as) };
}

/** Calls that must throw. */
function syncCases(
  title: string,
  bad: [Any, Failure][],
  call: (bad: Any, good: string) => unknown,
): Case {
  return { title, bad, fails: (bad, good, as) => void assertThrows(() => call(bad, good), as) };
}

const typeErrors = (values: Any[]): [Any, Failure][] => values.map((value) => [value, TypeError]);
const update = () => "x";

const all: Case[] = [
  cases("atomicWrite() rejects bad options", [...badWriteOptions, ...badSignal], (bad, good) => {
    return atomicWrite(good, "x", bad);
  }),
  cases("atomicWrite() rejects bad paths", badPaths, (bad) => atomicWrite(bad, "x")),
  cases("atomicWrite() rejects bad data", typeErrors(badData), (bad, good) => {
    return atomicWrite(good, bad);
  }),
  syncCases(
    "atomicWriteSync() throws on bad options",
    [...badWriteOptions, [{ signal: new AbortController().signal }, TypeError]],
    (bad, good) => atomicWriteSync(good, "x", bad),
  ),
  syncCases("atomicWriteSync() throws on bad paths", badPaths, (bad) => atomicWriteSync(bad, "x")),
  syncCases(
    "atomicWriteSync() throws on bad data",
    typeErrors([...badData, ...asyncOnlyData]),
    (bad, good) => atomicWriteSync(good, bad),
  ),
  cases(
    "AtomicFile.open() rejects bad options",
    [...badWriteOptions, ...badSignal],
    (bad, good) => {
      return AtomicFile.open(good, bad);
    },
  ),
  cases("AtomicFile.open() rejects bad paths", badPaths, (bad) => AtomicFile.open(bad)),
  cases("sweepTempFiles() rejects bad options", badSweepOptions, (bad, good) => {
    return sweepTempFiles(good, bad);
  }),
  cases("sweepTempFiles() rejects bad paths", badPaths, (bad) => sweepTempFiles(bad)),
  cases(
    "DirLock.acquire() rejects bad options",
    [...badAcquireSyncOptions, ...badSignal],
    (bad, good) => DirLock.acquire(good, bad),
  ),
  cases("DirLock.acquire() rejects bad paths", badPaths, (bad) => DirLock.acquire(bad)),
  cases(
    "DirLock.tryAcquire() rejects bad options, including timeout",
    [...badTryOptions, [{ timeout: 1 }, TypeError]],
    (bad, good) => DirLock.tryAcquire(good, bad),
  ),
  syncCases(
    "DirLock.acquireSync() throws on bad options",
    [...badAcquireSyncOptions, [{ signal: new AbortController().signal }, TypeError]],
    (bad, good) => DirLock.acquireSync(good, bad),
  ),
  syncCases(
    "DirLock.acquireSync() throws on bad paths",
    badPaths,
    (bad) => DirLock.acquireSync(bad),
  ),
  syncCases("DirLock.tryAcquireSync() throws on bad options", badTryOptions, (bad, good) => {
    return DirLock.tryAcquireSync(good, bad);
  }),
  cases(
    "withDirLock() rejects bad options",
    [...badAcquireSyncOptions, ...badSignal],
    (bad, good) => withDirLock(good, update, bad),
  ),
  cases(
    "withDirLock() rejects an argument that is not a function",
    typeErrors([undefined, "x"]),
    (bad, good) => {
      return withDirLock(good, bad);
    },
  ),
  cases("atomicUpdate() rejects bad options", [...badWriteOptions, ...badSignal], (bad, good) => {
    return atomicUpdate(good, update, bad);
  }),
  cases(
    "atomicUpdate() rejects bad options for its lock",
    [...badAcquireSyncOptions, ...badSignal],
    (bad, good) => atomicUpdate(good, update, { lock: bad }),
  ),
  syncCases(
    "atomicUpdateSync() throws on bad options",
    [...badWriteOptions, [{ signal: new AbortController().signal }, TypeError]],
    (bad, good) => atomicUpdateSync(good, update, bad),
  ),
  syncCases(
    "atomicUpdateSync() throws on bad options for its lock",
    [...badAcquireSyncOptions, [{ signal: new AbortController().signal }, TypeError]],
    (bad, good) => atomicUpdateSync(good, update, { lock: bad }),
  ),
  syncCases("atomicUpdateSync() throws on bad paths", badPaths, (bad) => {
    return atomicUpdateSync(bad, update);
  }),
  syncCases(
    "atomicUpdateSync() throws on an argument that is not a function",
    typeErrors([undefined, "x"]),
    (bad, good) => atomicUpdateSync(good, bad),
  ),
  cases("lockHolders() rejects bad options", badHoldersOptions, (bad, good) => {
    return lockHolders(good, bad);
  }),
  cases("lockHolders() rejects bad paths", badPaths, (bad) => lockHolders(bad)),
  cases("atomicUpdate() rejects bad paths", badPaths, (bad) => atomicUpdate(bad, update)),
  cases(
    "atomicUpdate() rejects an argument that is not a function",
    typeErrors([undefined, "x"]),
    (bad, good) => {
      return atomicUpdate(good, bad);
    },
  ),
];

for (const { title, bad, fails } of all) {
  test(`${title} before anything touches the disk`, () =>
    inTempDir(async (dir) => {
      for (const [value, failure] of bad) {
        const made = await recorded(() => fails(value, path.join(dir, "a"), failure));
        assertEquals(made, []);
      }
      assertEquals(list(dir), []);
    }));
}

test("the error for an unknown option lists the known options", () => {
  assertThrows(
    () => DirLock.tryAcquireSync("missing", { retries: 5 } as Any),
    TypeError,
    "Unknown option 'retries': valid options: shared, lockFileName",
  );
});

test("undefined options are ignored", () =>
  inTempDir(async (dir) => {
    const undefinedOptions = {
      durability: undefined,
      mode: undefined,
      createNew: undefined,
      symlinks: undefined,
    } as Any;
    await atomicWrite(path.join(dir, "a"), "x", { ...undefinedOptions, signal: undefined });
    atomicWriteSync(path.join(dir, "b"), "x", undefinedOptions);
    const lock = { shared: undefined, lockFileName: undefined, timeout: undefined } as Any;
    (await DirLock.acquire(dir, lock)).release();
    assertEquals(list(dir), ["a", "b"]);
  }));

test("options can be frozen", () =>
  inTempDir(async (dir) => {
    const write = Object.freeze({ durability: "none", mode: 0o600 } as const);
    await atomicWrite(path.join(dir, "a"), "x", write);
    await atomicUpdate(path.join(dir, "a"), () =>
      "y", Object.freeze({ ...write, lock: Object.freeze({ timeout: 5 }) }));
    assertEquals(write, { durability: "none", mode: 0o600 });
  }));

test("options are accepted when Object.prototype has an enumerable property", () =>
  inTempDir(async (dir) => {
    const { prototype } = Object;
    Object.assign(prototype, { polluted: true });
    try {
      await atomicWrite(path.join(dir, "a"), "x", { durability: "none" });
      atomicWriteSync(path.join(dir, "b"), "x", { mode: 0o600 });
      (await DirLock.acquire(dir, { timeout: 5_000 })).release();
      await sweepTempFiles(dir, { olderThan: 0 });
    } finally {
      delete (prototype as Any).polluted;
    }
    assertEquals(list(dir), ["a", "b"]);
  }));

test("each option is read only once", () =>
  inTempDir(async (dir) => {
    let reads = 0;
    const options = {
      get mode() {
        return reads++ === 0 ? 0o600 : -1;
      },
    };
    await atomicWrite(path.join(dir, "a"), "x", options);
    assertEquals(reads, 1);
  }));

test("inherited, non-enumerable and proxied options are read", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    const given: [string, object][] = [
      ["inherited", Object.create({ createNew: true })],
      ["not enumerable", Object.defineProperty({}, "createNew", { value: true })],
      ["a Proxy's", new Proxy({}, { get: (_, name) => name === "createNew" ? true : undefined })],
    ];
    for (const [what, options] of given) {
      const error = await assertRejects(() => atomicWrite(file, "new", options), Error, "", what);
      assertEquals((error as { code?: unknown }).code, "EEXIST");
    }
  }));

test("atomicUpdate() and atomicUpdateSync() read inherited and non-enumerable lock options", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const lockFileName = "custom.lock";
    for (const key of ["inherited", "not enumerable"]) {
      const lock = key === "inherited"
        ? Object.create({ lockFileName })
        : Object.defineProperty({}, "lockFileName", { value: lockFileName });
      await atomicUpdate(file, () => "x", { lock });
      atomicUpdateSync(file, () => "x", { lock });
      assertEquals(list(dir), [lockFileName, "file"], key);
    }
  }));
