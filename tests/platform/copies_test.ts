/**
 * Two copies of the module in one process: the application's own copy and that of a dependency.
 */
import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import * as own from "../../mod.ts";
import { noOtherCopy as skip, otherCopy } from "../support/copies.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { test } from "../support/test.ts";
import { within } from "../support/within.ts";

/** Calls `fn` with a new directory and the two copies. */
function withCopies(
  fn: (dir: string, copies: [typeof own, typeof own]) => Promise<void>,
): Promise<void> {
  return inTempDir(async (root) => {
    const copy = path.join(root, "copy");
    const dir = path.join(root, "dir");
    fs.mkdirSync(copy);
    fs.mkdirSync(dir);
    const other = await otherCopy(copy);
    assertNotStrictEquals(other.atomicWrite, own.atomicWrite);
    await fn(dir, [own, other]);
  });
}

test(
  "atomicWrite() calls to two copies take effect in call order",
  () =>
    withCopies(async (dir, copies) => {
      for (let round = 0; round < 20; round++) {
        const file = path.join(dir, String(round));
        await Promise.all(Array.from({ length: 9 }, (_, i) => {
          const { atomicWrite } = copies[(round + i) % 2]!;
          return atomicWrite(file, String(i), { durability: "none", mode: 0o600 + 4 * (i % 2) });
        }));
        assertEquals(text(file), "8");
      }
    }),
  { skip },
);

test(
  "atomicWrite() with createNew fails with EEXIST after a call to the other copy",
  () =>
    withCopies(async (dir, copies) => {
      for (let round = 0; round < 20; round++) {
        const file = path.join(dir, String(round));
        const [first, second] = round % 2 === 0 ? copies : copies.toReversed();
        const written = first!.atomicWrite(file, "first", { durability: "none" });
        const refused = assertRejects(
          () => second!.atomicWrite(file, "second", { createNew: true, durability: "none" }),
          Error,
        );
        await written;
        assertEquals((await refused as Error & { code?: string }).code, "EEXIST");
        assertEquals(text(file), "first");
      }
    }),
  { skip },
);

test(
  "atomicWriteSync() runs the other copy's pending writes first",
  () =>
    withCopies(async (dir, [one, other]) => {
      const file = path.join(dir, "file");
      const earlier = [0, 1, 2].map((i) => one.atomicWrite(file, String(i)));
      other.atomicWriteSync(file, "sync");
      assertEquals(text(file), "sync");
      await Promise.all(earlier);
      assertEquals([text(file), list(dir)], ["sync", ["file"]]);
    }),
  { skip },
);

test(
  "atomicUpdate() reads what an earlier call to the other copy wrote",
  () =>
    withCopies(async (dir, [one, other]) => {
      for (let round = 0; round < 20; round++) {
        const file = path.join(dir, String(round));
        const written = other.atomicWrite(file, "written", { durability: "none" });
        const append = (bytes: Uint8Array | null) => {
          return `${bytes && new TextDecoder().decode(bytes)}, updated`;
        };
        await Promise.all([written, one.atomicUpdate(file, append, { durability: "none" })]);
        assertEquals(text(file), "written, updated");
      }
    }),
  { skip },
);

test(
  "atomicUpdate() calls to two copies lose no updates and run in call order",
  () =>
    withCopies(async (dir, copies) => {
      const file = path.join(dir, "file");
      await Promise.all(Array.from({ length: 50 }, (_, i) => {
        return copies[i % 2]!.atomicUpdate(file, (bytes) => {
          return `${bytes === null ? "" : new TextDecoder().decode(bytes)}${i} `;
        }, { durability: "none" });
      }));
      assertEquals(text(file), Array.from({ length: 50 }, (_, i) => `${i} `).join(""));
    }),
  { skip },
);

test(
  "atomicUpdate() accepts the other copy's lock",
  () =>
    withCopies(async (dir, [one, other]) => {
      const file = path.join(dir, "file");
      const lock = await other.DirLock.acquire(dir);
      await one.atomicUpdate(file, () => "x", { lock });
      assertEquals([text(file), lock.released], ["x", false]);
      lock.release();
      await assertRejects(
        () => one.atomicUpdate(file, () => "x", { lock }),
        RangeError,
        "released",
      );
    }),
  { skip },
);

test(
  "DirLock.acquire() calls to two copies are served in call order",
  () =>
    withCopies(async (dir, copies) => {
      const held = await copies[1].DirLock.acquire(dir);
      const served: number[] = [];
      const waits = Array.from({ length: 20 }, async (_, i) => {
        const lock = await copies[i % 2]!.DirLock.acquire(dir);
        served.push(i);
        lock.release();
      });
      assert(await copies[0].DirLock.tryAcquire(dir) === null);
      assertThrows(() => copies[0].DirLock.acquireSync(dir), Error, "this thread");
      held.release();
      assertEquals(copies[0].DirLock.tryAcquireSync(dir), null);
      await within(Promise.all(waits));
      assertEquals(served, Array.from({ length: 20 }, (_, i) => i));
    }),
  { skip },
);
