/**
 * Paths as strings, bytes and `file:` URLs. The URLs follow the rules of Node's fileURLToPath().
 */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import {
  AtomicFile,
  atomicUpdate,
  atomicUpdateSync,
  atomicWrite,
  atomicWriteSync,
  DirLock,
  lockHolders,
  sweepTempFiles,
  sweepTempFilesSync,
  withDirLock,
} from "../../mod.ts";
import {
  readJson,
  readJsonSync,
  updateJson,
  updateJsonSync,
  writeJson,
  writeJsonSync,
} from "../../json.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { recorded } from "../support/runtime.ts";
import { isDeno, isWindows, test } from "../support/test.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

/** Turns an exception thrown by a synchronous call into a rejection. */
const later = (call: () => unknown) => Promise.resolve().then(call);

/** Each function that takes a path. */
const calls: [string, (path: Any) => unknown][] = [
  ["atomicWrite()", (path) => atomicWrite(path, "x")],
  ["atomicWriteSync()", (path) => later(() => atomicWriteSync(path, "x"))],
  ["AtomicFile.open()", (path) => AtomicFile.open(path)],
  ["atomicUpdate()", (path) => atomicUpdate(path, () => "x")],
  ["atomicUpdateSync()", (path) => later(() => atomicUpdateSync(path, () => "x"))],
  ["readJson()", (path) => readJson(path)],
  ["readJsonSync()", (path) => later(() => readJsonSync(path))],
  ["writeJson()", (path) => writeJson(path, 1)],
  ["writeJsonSync()", (path) => later(() => writeJsonSync(path, 1))],
  ["updateJson()", (path) => updateJson(path, () => 1)],
  ["updateJsonSync()", (path) => later(() => updateJsonSync(path, () => 1))],
  ["DirLock.acquire()", (path) => DirLock.acquire(path)],
  ["DirLock.acquireSync()", (path) => later(() => DirLock.acquireSync(path))],
  ["DirLock.tryAcquire()", (path) => DirLock.tryAcquire(path)],
  ["DirLock.tryAcquireSync()", (path) => later(() => DirLock.tryAcquireSync(path))],
  ["withDirLock()", (path) => withDirLock(path, () => {})],
  ["lockHolders()", (path) => lockHolders(path)],
  ["sweepTempFiles()", (path) => sweepTempFiles(path)],
  ["sweepTempFilesSync()", (path) => later(() => sweepTempFilesSync(path))],
];
const urls: [string, string][] = [
  ["with another host", "file://server{dir}/x"],
  ["with an escaped slash", "file://{dir}/a%2Fb"],
  ["with an escaped slash in lower case", "file://{dir}/a%2fb"],
  ["that leaves its directory through an escaped slash", "file://{dir}/sub/..%2Fx"],
  ["with escapes that are not UTF-8", "file://{dir}/%FF"],
  ["with an incomplete escape", "file://{dir}/100%"],
  ["with an escaped NUL", "file://{dir}/a%00b"],
];
for (const [what, call] of calls) {
  for (const [how, url] of urls) {
    test(
      `${what} rejects a file: URL ${how} before anything touches the disk`,
      () =>
        inTempDir(async (dir) => {
          const made = await recorded(() => {
            const wrong = new URL(url.replace("{dir}", pathToFileURL(dir).pathname));
            return assertRejects(() => call(wrong) as Promise<unknown>, TypeError);
          });
          assertEquals([made, list(dir)], [[], []]);
        }),
      { skip: isWindows && url.includes("server") && "a URL with a host is a UNC path on Windows" },
    );
  }
}

/** Paths that would lead elsewhere or nowhere; `dir` is an existing directory. */
const wrongPaths: [string, (dir: string) => unknown, string][] = [
  ["with a lone surrogate", (dir) => `${dir}/${"💻notes".slice(1)}`, "must be well-formed Unicode"],
  ["that ends in half a surrogate pair", (dir) => `${dir}/a\ud83d`, "must be well-formed Unicode"],
  ["that is the text of a file: URL", (dir) => pathToFileURL(dir).href, "pass new URL("],
  [
    "given as bytes that are not UTF-8",
    (dir) => new TextEncoder().encode(dir).fill(0xff, 1),
    "UTF-8",
  ],
];
for (const [what, call] of calls) {
  for (const [how, make, message] of wrongPaths) {
    test(`${what} rejects a path ${how} before anything touches the disk`, () =>
      inTempDir(async (dir) => {
        const made = await recorded(() => {
          return assertRejects(() => call(make(dir)) as Promise<unknown>, TypeError, message);
        });
        assertEquals([made, list(dir)], [[], []]);
      }));
  }
}

test("a lock file name with a lone surrogate is rejected before anything touches the disk", () =>
  inTempDir(async (dir) => {
    const options = { lockFileName: "💻.lock".slice(1) };
    const made = await recorded(async () => {
      await assertRejects(() => DirLock.acquire(dir, options), TypeError, "well-formed Unicode");
      await assertRejects(() => lockHolders(dir, options), TypeError, "well-formed Unicode");
    });
    assertEquals([made, list(dir)], [[], []]);
  }));

test("paths can be passed as UTF-8 bytes", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "grün\ufeff");
    for (const bytes of [Buffer.from(file), new TextEncoder().encode(file)]) {
      await atomicWrite(bytes, "x");
      atomicUpdateSync(bytes, (old) => new TextDecoder().decode(old!) + "y");
      assertEquals([text(file), list(dir)], ["xy", [path.basename(file)]]);
    }
    assertEquals(await sweepTempFiles(Buffer.from(dir)), []);
  }));

test(
  "file: URLs with escapes lead to the file whose name they encode",
  () =>
    inTempDir(async (dir) => {
      for (const name of ["a b", "100%", "ü€𝄞", "a#b?c", "a\\b", "%2F"]) {
        if (isWindows && name.includes("\\")) continue;
        await atomicWrite(pathToFileURL(path.join(dir, name)), name);
        assertEquals(text(path.join(dir, name)), name);
        atomicWriteSync(pathToFileURL(path.join(dir, name)), `${name}, sync`);
        assertEquals(text(path.join(dir, name)), `${name}, sync`);
      }
    }),
  { skip: isWindows && "Windows does not allow such names" },
);

const writes: [string, (file: string) => unknown][] = [
  ["atomicWrite()", (file) => atomicWrite(file, "x")],
  ["atomicWriteSync()", (file) => atomicWriteSync(file, "x")],
  ["atomicWrite() of a stream", (file) =>
    atomicWrite(
      file,
      (async function* () {
        yield "x";
      })(),
    )],
  ["AtomicFile.open()", (file) => AtomicFile.open(file)],
];
for (const [what, write] of writes) {
  test(
    `${what} with a trailing slash throws ENOTDIR if the path is a file, and otherwise EISDIR`,
    () =>
      inTempDir(async (dir) => {
        fs.writeFileSync(path.join(dir, "file"), "old");
        fs.mkdirSync(path.join(dir, "dir"));
        const code = async (file: string) => {
          const error = await assertRejects(() => Promise.resolve().then(() => write(file)), Error);
          return (error as Error & { code?: string }).code;
        };
        assertEquals(await code(`${dir}/file/`), "ENOTDIR");
        assertEquals(await code(`${dir}/file//`), "ENOTDIR");
        assertEquals(await code(`${dir}/dir/`), "EISDIR");
        assertEquals(await code(`${dir}/nothing/`), "EISDIR");
        assertEquals([list(dir), text(path.join(dir, "file"))], [["dir", "file"], "old"]);
      }),
    { skip: isWindows && "error codes differ on Windows" },
  );
}

test("an array passed as options is rejected", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    // deno-lint-ignore no-explicit-any
    const none = [] as any;
    const made = await recorded(async () => {
      await assertRejects(() => atomicWrite(file, "x", none), TypeError);
      await assertRejects(() => AtomicFile.open(file, none), TypeError);
      await assertRejects(() => sweepTempFiles(dir, none), TypeError);
      await assertRejects(() => atomicUpdate(file, () => "x", none), TypeError);
      assertThrows(() => atomicWriteSync(file, "x", none), TypeError);
    });
    assertEquals([made, list(dir)], [[], []]);
  }));

test(
  "sweepTempFiles() does not touch files whose names are not UTF-8",
  () =>
    inTempDir(async (dir) => {
      const name = (...parts: (string | number)[]) =>
        Buffer.concat([
          Buffer.from(`${dir}/`),
          ...parts.map((part) => typeof part === "string" ? Buffer.from(part) : Buffer.of(part)),
        ]);
      fs.writeFileSync(path.join(dir, ".fine.0123456789abcdef.tmp"), "");
      const written = [name(".a", 0xff, ".0123456789abcdef.tmp"), name("keep", 0xff)];
      for (const file of written) fs.writeFileSync(file, "");
      const removed = await sweepTempFiles(dir, { olderThan: 0 });
      assertEquals(removed, [path.join(dir, ".fine.0123456789abcdef.tmp")]);
      assertEquals(fs.readdirSync(dir).length, 2);
    }),
  {
    skip: process.platform !== "linux"
      ? "only Linux has /proc/self/fd"
      : isDeno && "Deno can neither create nor name such files",
  },
);

test(
  "relative paths start at the working directory even after it is renamed and its name reused",
  () =>
    inTempDir(async (dir) => {
      const before = process.cwd();
      const [old, renamed] = [path.join(dir, "old"), path.join(dir, "renamed")];
      fs.mkdirSync(old);
      process.chdir(old);
      try {
        process.cwd();
        fs.renameSync(old, renamed);
        fs.mkdirSync(old);
        await atomicWrite("file", "x");
        (await DirLock.acquire("sub")).release();
      } finally {
        process.chdir(before);
      }
      assertEquals([list(old), list(renamed)], [[], ["file", "sub"]]);
    }),
  { skip: isWindows && "Windows cannot rename a working directory" },
);
