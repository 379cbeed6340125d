import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { atomicUpdate, DirLock, LOCK_FILE_NAME, LockTimeoutError } from "../mod.ts";
import { assertBlocks } from "./support/blocks.ts";
import { blobOf } from "./support/content.ts";
import { inTempDir, list, text } from "./support/dir.ts";
import { recorded } from "./support/runtime.ts";
import { isWindows, test, testWithLinks } from "./support/test.ts";

const decode = (bytes: Uint8Array | null) => bytes && new TextDecoder().decode(bytes);

test("atomicUpdate() hands on the content and writes what comes back", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await atomicUpdate(file, (bytes) => {
      assertEquals(bytes, null);
      return "one";
    });
    await atomicUpdate(file, (bytes) => Promise.resolve(`${decode(bytes)}, two`));
    await atomicUpdate(file, (bytes) => blobOf(bytes!, ", three"));
    assertEquals(text(file), "one, two, three");
    assertEquals(list(dir), ["file"]);
  }));

test("atomicUpdate() hands on a plain Uint8Array", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "x");
    await atomicUpdate(file, (bytes) => {
      assertStrictEquals(Object.getPrototypeOf(bytes), Uint8Array.prototype);
      return null;
    });
  }));

test("atomicUpdate() leaves the file as it is when null comes back", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await atomicUpdate(file, () => null);
    assertEquals(list(dir), []);
    fs.writeFileSync(file, "old");
    const calls = await recorded(() => atomicUpdate(file, () => Promise.resolve(null)));
    assert(!calls.some(({ name }) => name === "rename"));
    assertEquals(text(file), "old");
  }));

test("atomicUpdate() rejects what is no data, such as a forgotten return", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    // @ts-expect-error Nothing is returned.
    await assertRejects(() => atomicUpdate(file, () => {}), TypeError, "Data must be");
    assertEquals([list(dir), text(file)], [["file"], "old"]);
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("atomicUpdate() changes nothing when the function throws", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    const reason = new Error("mine");
    const error = await assertRejects(() =>
      atomicUpdate(file, () => {
        throw reason;
      })
    );
    assertStrictEquals(error, reason);
    assertEquals([list(dir), text(file)], [["file"], "old"]);
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("atomicUpdate() holds the lock of the file's directory meanwhile", () =>
  inTempDir(async (dir) => {
    await atomicUpdate(path.join(dir, "file"), async () => {
      assertEquals(await DirLock.tryAcquire(dir), null);
      return "x";
    });
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("atomicUpdate() loses none of 100 updates at once", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "counter");
    await Promise.all(Array.from({ length: 100 }, () => {
      return atomicUpdate(file, (bytes) => String(Number(decode(bytes) ?? 0) + 1), {
        durability: "none",
      });
    }));
    assertEquals(text(file), "100");
  }));

test("atomicUpdate() works under a lock that is held, and leaves it held", () =>
  inTempDir(async (dir) => {
    using lock = await DirLock.acquire(dir);
    await atomicUpdate(path.join(dir, "file"), () => "x", { lock });
    assertEquals([text(path.join(dir, "file")), lock.released], ["x", false]);
  }));

test("atomicUpdate() acquires the lock as it is told", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    using held = await DirLock.acquire(dir);
    await assertRejects(
      () => atomicUpdate(file, () => "x", { lock: { timeout: 5 } }),
      LockTimeoutError,
    );
    await atomicUpdate(file, () => "x", { lock: { lockFileName: "another" } });
    assertEquals(list(dir), ["another", "file"]);
    assert(!held.released);
  }));

test("atomicUpdate() refuses a lock that does not keep others out", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const lock = await DirLock.acquire(dir, { shared: true });
    await assertRejects(() => atomicUpdate(file, () => "x", { lock }), RangeError, "exclusive");
    lock.release();
    await assertRejects(() => atomicUpdate(file, () => "x", { lock }), RangeError, "released");
    await assertRejects(
      () => atomicUpdate(file, () => "x", { lock: { shared: true } }),
      RangeError,
      "exclusive",
    );
    assertEquals(list(dir), []);
  }));

test("atomicUpdate() gives up the wait for the lock when aborted", () =>
  inTempDir(async (dir) => {
    using _held = await DirLock.acquire(dir);
    const controller = new AbortController();
    const { signal } = controller;
    const update = atomicUpdate(path.join(dir, "file"), () => "x", { signal });
    const rejected = assertRejects(() => update, Error, "enough");
    await assertBlocks(rejected, () => controller.abort(new Error("enough")));
    assertEquals(list(dir), []);
  }));

test("atomicUpdate() does not write when aborted while the function works", () =>
  inTempDir(async (dir) => {
    const controller = new AbortController();
    const { signal } = controller;
    const update = atomicUpdate(path.join(dir, "file"), () => {
      controller.abort(new Error("enough"));
      return "x";
    }, { signal });
    await assertRejects(() => update, Error, "enough");
    assertEquals(list(dir), []);
  }));

testWithLinks(
  "atomicUpdate() locks the directory of the file that a link points to",
  () =>
    inTempDir(async (dir) => {
      fs.mkdirSync(path.join(dir, "real"));
      fs.mkdirSync(path.join(dir, "links"));
      fs.symlinkSync("../real/file", path.join(dir, "links", "link"));
      await atomicUpdate(path.join(dir, "links", "link"), () => "x");
      assertEquals(fs.readdirSync(path.join(dir, "links")), ["link"]);
      assertEquals(fs.readdirSync(path.join(dir, "real")).sort(), [LOCK_FILE_NAME, "file"]);
    }),
);

test("atomicUpdate() creates the directory", () =>
  inTempDir(async (dir) => {
    await atomicUpdate(path.join(dir, "a", "b", "file"), () => "x");
    assertEquals(text(path.join(dir, "a", "b", "file")), "x");
  }));

test(
  "atomicUpdate() refuses a directory before it calls the function",
  () =>
    inTempDir(async (dir) => {
      let called = false;
      const error = await assertRejects(
        () => atomicUpdate(dir, () => (called = true, "x")),
        Error,
        `Cannot update '${dir}'`,
      );
      assertEquals([(error as Error & { code?: string }).code, called], ["EISDIR", false]);
    }),
  { skip: isWindows && "other codes on Windows" },
);
