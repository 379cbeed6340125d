/**
 * The error messages for common mistakes: each says what is wrong, and most say what to do instead.
 */
import { assertStringIncludes } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import {
  readJson,
  readJsonSync,
  updateJson,
  updateJsonSync,
  writeJson,
  writeJsonSync,
} from "../../json.ts";
import {
  AtomicFile,
  atomicUpdate,
  atomicUpdateSync,
  atomicWrite,
  atomicWriteSync,
  DirLock,
  lockHolders,
  LockTimeoutError,
  sweepTempFiles,
  sweepTempFilesSync,
  withDirLock,
} from "../../mod.ts";
import { inTempDir } from "../support/dir.ts";
import { isWindows, test } from "../support/test.ts";

/** An untyped function, because some of the mistakes are type errors. */
// deno-lint-ignore no-explicit-any
type Untyped = any;

const write: Untyped = atomicWrite;
const writeSync: Untyped = atomicWriteSync;
const open: Untyped = AtomicFile.open;
const update: Untyped = atomicUpdate;
const updateSync: Untyped = atomicUpdateSync;
const acquire: Untyped = DirLock.acquire;
const sweep: Untyped = sweepTempFiles;

/**
 * A mistake, a call that makes it, and what the error message must contain. The call receives the
 * path of a missing file and that of its directory; in the message, "DIR" stands for the directory.
 */
type Mistake = [what: string, call: (file: string, dir: string) => unknown, ...messages: string[]];

const DATA = "Data must be a string, bytes, a Blob, a stream or an iterable of strings and bytes";
const DATA_SYNC = "Data must be a string, bytes or an iterable of strings and bytes";
const CHUNK = "must be a string, an ArrayBuffer or a view of one";
const PATH = "Path must be a string, a file URL or the bytes of a path";
const WRITE_OPTIONS = "durability, mode, createNew, symlinks, parents, fallback, signal";

const data: Mistake[] = [
  ["no data", (file) => write(file), `${DATA}: received undefined`],
  ["null", (file) => write(file, null), `${DATA}: received null`],
  ["a number", (file) => write(file, 5), `${DATA}: received a number`],
  ["an object", (file) => write(file, {}), `${DATA}: received an object`, "use writeJson()"],
  ["a Date", (file) => write(file, new Date()), `${DATA}: received a Date`],
  ["a promise of data", (file) => write(file, Promise.resolve("x")), "(missing `await`?)"],
  ["a Response", (file) => write(file, new Response("x")), "received a Response. Pass its body"],
  ["a generator function", (file) => write(file, function* () {}), "received a function"],
  ["an array of numbers", (file) => write(file, [1]), `Each chunk of an array ${CHUNK}`],
  ["a Map", (file) => write(file, new Map([[1, 2]])), `Each chunk of a Map ${CHUNK}`],
  [
    "a generator of objects",
    (file) =>
      write(
        file,
        (function* () {
          yield {};
        })(),
      ),
    `Each chunk of a generator ${CHUNK}: received an object`,
  ],
  ["a stream of objects", (file) => write(file, Readable.from([{}])), `Chunk ${CHUNK}`],
  [
    "a stream that was read",
    async (file) => {
      const stream = Readable.from(["x"]);
      for await (const _ of stream);
      await write(file, stream);
    },
    "a stream that nothing else reads",
    "Pass the stream as soon as you have it",
  ],
  ["a locked stream", async (file) => {
    const stream = new ReadableStream();
    stream.getReader();
    await write(file, stream);
  }, "received a ReadableStream that other code reads"],
  ["a Blob, synchronously", (file) => writeSync(file, new Blob([])), `${DATA_SYNC}: received a B`],
  [
    "a stream, synchronously",
    (file) => writeSync(file, Readable.from([])),
    "Only asynchronous functions accept it",
  ],
];

const paths: Mistake[] = [
  ["no path", () => write(undefined, "x"), `${PATH}: received undefined`],
  ["an empty path", () => write("", "x"), "Path must not be empty"],
  ["a file descriptor", () => write(3, "x"), `${PATH}: received a number`],
  ["a promise of a path", (file) => write(Promise.resolve(file), "x"), "(missing `await`?)"],
  ["a URL's href", (file) => write(pathToFileURL(file).href, "x"), 'pass new URL("file://'],
  [
    "a web URL",
    () => write(new URL("https://example.com/a"), "x"),
    "Invalid path 'https://example.com/a': The URL must be of scheme file",
  ],
  ["a NUL character", () => write("a\0b", "x"), "Path must not contain a NUL character"],
  [
    "half a surrogate pair",
    () => write("💻".slice(1), "x"),
    'well-formed Unicode: received "\\udcbb"',
  ],
  ["content as the path", () => write(Uint8Array.of(255), "x"), "Path must be valid UTF-8"],
];

const options: Mistake[] = [
  ["an encoding", (file) => write(file, "x", "utf8"), "Options must be an object such as"],
  ["a callback", (file) => write(file, "x", () => {}), "such as { durability: … }: received a f"],
  ["null", (file) => write(file, "x", null), "such as { durability: … }: received null"],
  ["a Map", (file) => write(file, "x", new Map()), "such as { durability: … }: received a Map"],
  [
    "a signal",
    (file) => write(file, "x", new AbortController().signal),
    "Options must be an object such as { durability: … }: received an AbortSignal",
  ],
  [
    "encoding",
    (file) => write(file, "x", { encoding: "utf8" }),
    `Unknown option 'encoding': valid options: ${WRITE_OPTIONS}`,
  ],
  ["flag", (file) => write(file, "x", { flag: "wx" }), "Unknown option 'flag': valid options: "],
  [
    "fsync",
    (file) => write(file, "x", { durability: "fsync" }),
    '\'durability\' must be "none" or "consistent" or "durable": received "fsync"',
  ],
  [
    "durability: true",
    (file) => write(file, "x", { durability: true }),
    '\'durability\' must be "none" or "consistent" or "durable": received a boolean',
  ],
  [
    "fallback: true",
    (file) => write(file, "x", { fallback: true }),
    'must be "in-place": received',
  ],
  ["mode as text", (file) => write(file, "x", { mode: "644" }), "a number such as 0o644: received"],
  ["mode in decimal", (file) => write(file, "x", { mode: 644 }), "644 (did you mean 0o644?)"],
  [
    "mode from stat()",
    (file) => write(file, "x", { mode: 0o100644 }),
    "'mode' must be an integer from 0 to 0o7777: received 33188. Pass only the permission bits",
  ],
  ["createNew as text", (file) => write(file, "x", { createNew: "yes" }), "must be a boolean"],
  [
    "a controller",
    (file) => write(file, "x", { signal: new AbortController() }),
    "'signal' must be an AbortSignal: received an AbortController",
  ],
  [
    "a signal, synchronously",
    (file) => writeSync(file, "x", { signal: AbortSignal.abort() }),
    "Unknown option 'signal': valid options: durability",
  ],
  [
    "fallback with createNew",
    (file) => write(file, "x", { fallback: "in-place", createNew: true }),
    "'fallback'",
    "'createNew'",
  ],
];

const targets: Mistake[] = [
  ["a directory", (_, dir) => write(dir, "x"), "Cannot write 'DIR'", "Is a directory"],
  ["a trailing slash", (file) => write(`${file}/`, "x"), "Cannot write 'DIR/file/'"],
  [
    "a missing directory",
    (_, dir) => write(path.join(dir, "no", "file"), "x"),
    "Cannot write 'DIR/no/file'",
    "parents: true",
  ],
  [
    "a missing directory, synchronously",
    (_, dir) => writeSync(path.join(dir, "no", "file"), "x"),
    "Cannot write 'DIR/no/file'",
    "parents: true",
  ],
  [
    "a missing directory, for AtomicFile",
    (_, dir) => open(path.join(dir, "no", "file")),
    "Cannot write 'DIR/no/file'",
    "parents: true",
  ],
  [
    "an existing file, with createNew",
    async (file) => {
      fs.writeFileSync(file, "");
      await write(file, "x", { createNew: true });
    },
    "Cannot write 'DIR/file'",
    "File exists",
  ],
];

const atomicFile: Mistake[] = [
  ["new", () => new (AtomicFile as Untyped)("x"), "use await AtomicFile.open(path)"],
  ["write() after the commit", async (file) => {
    const opened = await open(file);
    await opened.commit();
    await opened.write("x");
  }, "Cannot write to 'DIR/file': it has already been committed"],
  ["two commits", async (file) => {
    const opened = await open(file);
    await opened.commit();
    await opened.commit();
  }, "Cannot commit 'DIR/file': it has already been committed"],
  ["commit() after discard()", async (file) => {
    const opened = await open(file);
    await opened.discard();
    await opened.commit();
  }, "Cannot commit 'DIR/file': it has already been discarded"],
  ["commit() before close()", async (file) => {
    const opened = await open(file);
    try {
      await opened.writable.getWriter().write(Uint8Array.of(1));
      await opened.commit();
    } finally {
      await opened.discard();
    }
  }, "Cannot commit 'DIR/file': 'writable' has not been closed. First await its close()"],
  ["write() with an array", async (file) => {
    const opened = await open(file);
    await opened.write(["x"]);
  }, `Chunk ${CHUNK}: received an array`],
];

const sweeps: Mistake[] = [
  ["a file", async (file) => {
    fs.writeFileSync(file, "");
    await sweep(file);
  }, "Cannot sweep 'DIR/file'"],
  ["a missing directory", (_, dir) => sweep(path.join(dir, "no")), "Cannot sweep 'DIR/no'"],
  ["a number", (_, dir) => sweep(dir, 1_000), "such as { olderThan: … }: received a number"],
  ["maxAge", (_, dir) => sweep(dir, { maxAge: 1 }), "valid options: olderThan, recursive"],
  ["a time as text", (_, dir) => sweep(dir, { olderThan: "1h" }), "a number of milliseconds"],
  [
    "a time in the future, synchronously",
    (_, dir) => sweepTempFilesSync(dir, { olderThan: -1 }),
    "'olderThan' must be 0 milliseconds or more: received -1",
  ],
];

const locks: Mistake[] = [
  ["new", () => new (DirLock as Untyped)("x"), "DirLock.acquire(dir)"],
  ["no directory", () => acquire(), `${PATH}: received undefined`],
  ["a file", async (file) => {
    fs.writeFileSync(file, "");
    await acquire(file);
  }, "Cannot lock 'DIR/file/.aperture.lock'"],
  [
    "retries",
    (_, dir) => acquire(dir, { retries: 5 }),
    "Unknown option 'retries': valid options: ",
  ],
  [
    "stale",
    (_, dir) => acquire(dir, { stale: 5_000 }),
    "Unknown option 'stale': valid options: ",
  ],
  ["timeout as text", (_, dir) => acquire(dir, { timeout: "1s" }), "a number of milliseconds"],
  ["timeout: -1", (_, dir) => acquire(dir, { timeout: -1 }), "0 milliseconds or more: received -1"],
  ["onWait: true", (_, dir) => acquire(dir, { onWait: true }), "'onWait' must be a function"],
  ["a directory in lockFileName", (_, dir) => {
    return acquire(dir, { lockFileName: "a/b" });
  }, "'lockFileName' must be a file name without a directory: received \"a/b\""],
  ["tryAcquire() with timeout", (_, dir) => {
    return (DirLock.tryAcquire as Untyped)(dir, { timeout: 1 });
  }, "Unknown option 'timeout': valid options: shared, lockFileName"],
  ["withDirLock() without a function", (_, dir) => {
    return (withDirLock as Untyped)(dir);
  }, "'fn' must be a function: received undefined"],
  ["withDirLock() with options first", (_, dir) => {
    return (withDirLock as Untyped)(dir, { timeout: 5 }, () => {});
  }, "'fn' must be a function: received an object"],
  ["lockHolders() with shared", (_, dir) => {
    return lockHolders(dir, { shared: true } as Untyped);
  }, "Unknown option 'shared': valid options: lockFileName"],
  [
    "acquireSync() for a lock that is already held",
    async (_, dir) => {
      using _held = await DirLock.acquire(dir);
      DirLock.acquireSync(dir);
    },
    "Cannot lock 'DIR/.aperture.lock'",
    "Release the lock first",
  ],
  [
    "a lock that stays held",
    async (_, dir) => {
      using _held = await DirLock.acquire(dir);
      await acquire(dir, { timeout: 1 });
    },
    "Cannot lock 'DIR/.aperture.lock'",
    "'timeout'",
  ],
  [
    "a lock that this process holds",
    (_, dir) => {
      throw new LockTimeoutError(dir, 1, [process.pid, 1]);
    },
    `'DIR' within 1 ms: the lock is held by process ${process.pid} (this process) and process 1`,
    "pass the lock in the 'lock' option",
  ],
];

const updates: Mistake[] = [
  ["no function", (file) => update(file), "'fn' must be a function: received undefined"],
  ["data for a function", (file) => update(file, "x"), "'fn' must be a function: received a str"],
  ["no return", (file) => update(file, () => {}), "received undefined (missing 'return'?)"],
  ["an object", (file) => update(file, () => ({})), `${DATA}: received an object`],
  ["an async function, synchronously", (file) => {
    return updateSync(file, () => Promise.resolve("x"));
  }, `${DATA_SYNC}: received a Promise`],
  [
    "timeout",
    (file) => update(file, () => "x", { timeout: 5 }),
    WRITE_OPTIONS.replace("signal", "lock, signal"),
  ],
  ["lock: true", (file) => {
    return update(file, () => "x", { lock: true });
  }, "'lock' must be an object such as { shared: … }: received a boolean"],
  ["a lock that was released", async (file, dir) => {
    const lock = await DirLock.acquire(dir);
    lock.release();
    await update(file, () => "x", { lock });
  }, "'lock' has already been released"],
  ["a shared lock", async (file, dir) => {
    using lock = await DirLock.acquire(dir, { shared: true });
    await update(file, () => "x", { lock });
  }, "'lock' must be exclusive"],
  ["a lock on another directory", async (file, dir) => {
    using lock = await DirLock.acquire(path.join(dir, "other"));
    await update(file, () => "x", { lock });
  }, "must be a lock on the file's directory 'DIR': received a lock on 'DIR/other'"],
  ["its own lock file", (_, dir) => {
    return update(path.join(dir, ".aperture.lock"), () => "x");
  }, "'lock' must not use 'DIR/.aperture.lock' as the lock file: it is the file to be updated"],
];

/** Reads a JSON file with this content. */
const reads = (content: string | Uint8Array) => (file: string) => {
  fs.writeFileSync(file, content);
  return readJson(file);
};

const json: Mistake[] = [
  ["an empty file", reads(""), "Invalid JSON file 'DIR/file'", "the file is empty"],
  ["a comment", reads('{\n  // x\n  "a": 1\n}'), "line 2, column 3: JSON does not allow comments"],
  ["a trailing comma", reads('{ "a": 1, }'), "JSON does not allow trailing commas"],
  ["single quotes", reads("{ 'a': 1 }"), "at line 1, column 3: expected a property name"],
  [
    "bytes that are not UTF-8",
    reads(Uint8Array.of(0x22, 0xff, 0x22)),
    "the file is not valid UTF-8",
  ],
  ["undefined", (file) => writeJson(file, undefined), "the value is undefined; use null"],
  ["NaN", (file) => writeJson(file, { a: [{ b: NaN }] }), "NaN at 'a[0].b' would become null"],
  [
    "a bigint",
    (file) => writeJsonSync(file, { a: 1n }),
    "a bigint at 'a' has no JSON form: convert it",
  ],
  ["a function", (file) => writeJson(file, { a: () => {} }), "a function at 'a' would be omitted"],
  ["a Map", (file) => writeJson(file, { a: new Map() }), "a Map at 'a' would become {}"],
  ["an Error", (file) => writeJson(file, new Error("x")), "as JSON: an Error would become {}"],
  [
    "a promise",
    (file) => writeJson(file, Promise.resolve(1)),
    "a Promise (missing `await`?) would become {}",
  ],
  ["spaces", (file) => (writeJson as Untyped)(file, 1, { spaces: 2 }), "Unknown option 'spaces'"],
  ["indent: 11", (file) => writeJson(file, 1, { indent: 11 }), "'indent' must be an integer"],
  ["the arguments of JSON.stringify()", (file) => {
    return (writeJson as Untyped)(file, 1, null, 2);
  }, "Options must be an object such as { durability: … }: received null"],
  ["no return", (file) => updateJson(file, () => {}), "received undefined (missing 'return'?)"],
  ["updateJson() with a value", (file) => {
    return (updateJson as Untyped)(file, {});
  }, "'fn' must be a function: received an object"],
  ["updateJsonSync() with an async function", (file) => {
    return updateJsonSync(file, () => Promise.resolve(1));
  }, "a Promise (missing `await`?) would become {}"],
  ["an encoding for readJsonSync()", (file) => {
    return readJsonSync(file, "utf8" as Untyped);
  }, "Options must be an object such as { check: … }: received a string"],
];

for (
  const [area, mistakes] of Object.entries({
    data,
    paths,
    options,
    targets,
    AtomicFile: atomicFile,
    sweeps,
    locks,
    updates,
    JSON: json,
  })
) {
  for (const [what, call, ...messages] of mistakes) {
    test(`the error message for a mistake with ${area} is helpful: ${what}`, () =>
      inTempDir(async (dir) => {
        const failed = await Promise.resolve().then(() => call(path.join(dir, "file"), dir)).then(
          () => "no error",
          (error: Error) => error.message,
        );
        const slashes = (text: string) => isWindows ? text.replaceAll("\\", "/") : text;
        const message = slashes(failed.replaceAll(dir, "DIR"));
        for (const expected of messages) assertStringIncludes(message, slashes(expected));
      }));
  }
}
