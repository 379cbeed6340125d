import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { atomicUpdate, atomicUpdateSync, DeadlockError, DirLock } from "../../mod.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { test, testWithLinks } from "../support/test.ts";
import { within } from "../support/within.ts";

const decode = (bytes: Uint8Array | null) => bytes && new TextDecoder().decode(bytes);
const increment = (bytes: Uint8Array | null) => String(Number(decode(bytes) ?? 0) + 1);

testWithLinks(
  "atomicUpdate() loses none of 20 concurrent updates with the same held lock",
  () =>
    inTempDir(async (dir) => {
      fs.symlinkSync("counter", path.join(dir, "link"));
      const lock = await DirLock.acquire(dir);
      await Promise.all(Array.from({ length: 20 }, (_, i) => {
        const file = path.join(dir, i % 2 === 0 ? "counter" : "link");
        return atomicUpdate(file, async (bytes) => {
          await new Promise((resolve) => setTimeout(resolve, 0));
          return increment(bytes);
        }, { lock, durability: "none" });
      }));
      assertEquals(text(path.join(dir, "counter")), "20");
      lock.release();
    }),
);

test("atomicUpdate() updates two files under one held lock independently", () =>
  inTempDir(async (dir) => {
    const lock = await DirLock.acquire(dir);
    await within(atomicUpdate(path.join(dir, "one"), async () => {
      await atomicUpdate(path.join(dir, "two"), () => "2", { lock });
      return "1";
    }, { lock }));
    assertEquals([text(path.join(dir, "one")), text(path.join(dir, "two"))], ["1", "2"]);
    lock.release();
  }));

testWithLinks(
  "atomicUpdate() serializes updates with a held lock, no matter which path leads to the directory",
  () =>
    inTempDir(async (dir) => {
      fs.mkdirSync(path.join(dir, "real"));
      fs.symlinkSync("real", path.join(dir, "link"));
      using lock = DirLock.acquireSync(path.join(dir, "real"));
      const later = async (bytes: Uint8Array | null) => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return increment(bytes);
      };
      const names = ["real", "link", "real", "link/../real"];
      await Promise.all(
        names.map((name) => atomicUpdate(`${dir}/${name}/counter`, later, { lock })),
      );
      assertEquals(text(path.join(dir, "real", "counter")), "4");
    }),
);

testWithLinks(
  "atomicUpdate() with a held lock queues for the file that a link points to when the update runs",
  () =>
    inTempDir(async (dir) => {
      const [one, two, link] = ["one", "two", "link"].map((name) => path.join(dir, name));
      fs.symlinkSync("one", link!);
      using lock = DirLock.acquireSync(dir);
      let end!: () => void;
      const first = atomicUpdate(one!, async (bytes) => {
        await new Promise<void>((resolve) => end = resolve);
        return increment(bytes);
      }, { lock });
      const slowly = async (bytes: Uint8Array | null) => {
        await new Promise((resolve) => setTimeout(resolve, 10));
        return increment(bytes);
      };
      const byLink = atomicUpdate(link!, slowly, { lock });
      fs.unlinkSync(link!);
      fs.symlinkSync("two", link!);
      while (end === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
      end();
      await first;
      await Promise.all([byLink, atomicUpdate(two!, slowly, { lock })]);
      assertEquals([text(one!), text(two!)], ["1", "2"]);
    }),
);

test("atomicUpdateSync() throws a DeadlockError inside an update of the same file with the same held lock", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    using lock = DirLock.acquireSync(dir);
    const inner = () => atomicUpdateSync(file, () => "inner", { lock });
    assertThrows(() => atomicUpdateSync(file, () => (inner(), "outer"), { lock }), DeadlockError);
    assertEquals(list(dir), []);
    // An asynchronous update started by the function runs after the synchronous one.
    let after!: Promise<void>;
    atomicUpdateSync(file, () => {
      after = atomicUpdate(file, increment, { lock });
      return "1";
    }, { lock });
    assertEquals(text(file), "1");
    await after;
    assertEquals(text(file), "2");
  }));

test("atomicUpdate() stops waiting for another update with the same lock when aborted", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const lock = await DirLock.acquire(dir);
    let go!: (data: string) => void;
    const data = new Promise<string>((resolve) => go = resolve);
    const updates = [atomicUpdate(file, () => data, { lock })];
    const controller = new AbortController();
    let called = false;
    const fn = () => (called = true, "never");
    const aborted = atomicUpdate(file, fn, { lock, signal: controller.signal });
    updates.push(atomicUpdate(file, increment, { lock }));
    const outcome = assertRejects(() => aborted, Error, "enough");
    controller.abort(new Error("enough"));
    await within(outcome, 10);
    go("1");
    await Promise.all(updates);
    assertEquals([text(file), called], ["2", false]);
    lock.release();
  }));
