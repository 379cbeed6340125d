/** Two versions of the library in one process. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { atomicUpdateSync, DeadlockError, DirLock } from "../../mod.ts";
import { runtime } from "../../runtime/mod.ts";
import { Child } from "../support/child.ts";
import { inTempDir } from "../support/dir.ts";
import { test } from "../support/test.ts";
import "../support/worker.ts";

type Held = Map<string, { exclusive: boolean; shared: number }>;

/** The registry to which all versions write; its name and shape must never change. */
function heldByThread(): Held {
  return (globalThis as unknown as Record<symbol, Held>)[Symbol.for("@aperture/atomic/held/1")]!;
}

test("DirLock.acquireSync() throws a DeadlockError when another version in this thread holds the lock", () =>
  inTempDir((dir) => {
    const first = DirLock.acquireSync(dir);
    const [id] = [...heldByThread().keys()];
    first.release();
    const other = runtime.openLock(first.path, "read-write");
    assert(other.tryLock(true));
    heldByThread().set(id!, { exclusive: true, shared: 0 });
    try {
      assertThrows(() => DirLock.acquireSync(dir, { timeout: 50 }), DeadlockError);
    } finally {
      heldByThread().delete(id!);
      other.close();
    }
    DirLock.acquireSync(dir).release();
  }));

test("DirLock.acquireSync() records its lock's mode for its thread; release() removes the record", () =>
  inTempDir((dir) => {
    const before = heldByThread()?.size ?? 0;
    const held = () => [...heldByThread().values()].slice(before);
    const exclusive = DirLock.acquireSync(dir);
    assertEquals(held(), [{ exclusive: true, shared: 0 }]);
    exclusive.release();
    const shared = [1, 2].map(() => DirLock.acquireSync(dir, { shared: true }));
    assertEquals(held(), [{ exclusive: false, shared: 2 }]);
    for (const lock of shared) lock.release();
    assertEquals(held(), []);
  }));

test("DirLock.acquire() warns once when the process also contains another version of the library", () =>
  inTempDir(async (dir) => {
    const child = new Child("besideOtherVersion", [dir]);
    await child.says("warnings: 1");
    assertEquals(await child.exit(), 0);
  }));

test("atomicUpdateSync() throws a TypeError when it is passed another version's lock", () =>
  inTempDir((dir) => {
    const held = DirLock.acquireSync(dir);
    const lock = { dir, path: held.path, shared: false, release() {} } as unknown as DirLock;
    const file = path.join(dir, "file");
    assertThrows(() => atomicUpdateSync(file, () => "x", { lock }), TypeError, "another version");
    assert(!fs.existsSync(file));
    held.release();
  }));
