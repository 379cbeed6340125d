/** Locking when Windows refuses to open the lock file or reports no identity for it. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { atomicWrite, DeadlockError, DirLock, LockTimeoutError } from "../../mod.ts";
import { runtime, useRuntime } from "../../runtime/mod.ts";
import type { Runtime } from "../../runtime/types.ts";
import { inTempDir } from "../support/dir.ts";
import { noIdentity, onPlatform } from "../support/fake.ts";
import { systemError } from "../support/runtime.ts";
import { test, testWithLinks } from "../support/test.ts";

/**
 * Calls `fn` on simulated Windows, where the first `opens` attempts to open a lock file fail
 * because a scanner has it open.
 */
async function whileScanned(opens: number, fn: () => unknown): Promise<void> {
  const real = runtime;
  const openLock: Runtime["openLock"] = (file, access) => {
    if (opens-- > 0) throw systemError("EBUSY");
    return real.openLock(file, access);
  };
  useRuntime({ ...real, windows: true, refusesLinkedLocks: false, openLock });
  try {
    await fn();
  } finally {
    useRuntime(real);
  }
}

test("DirLock treats the lock as held while a Windows scanner has the lock file open", () =>
  inTempDir(async (dir) => {
    await whileScanned(1, async () => assertEquals(await DirLock.tryAcquire(dir), null));
    await whileScanned(1, () => assertEquals(DirLock.tryAcquireSync(dir), null));
    await whileScanned(3, async () => (await DirLock.acquire(dir)).release());
    await whileScanned(3, () => DirLock.acquireSync(dir).release());
    await whileScanned(Infinity, async () => {
      await assertRejects(() => DirLock.acquire(dir, { timeout: 20 }), LockTimeoutError);
      assertThrows(() => DirLock.acquireSync(dir, { timeout: 20 }), LockTimeoutError);
      const signal = AbortSignal.timeout(20);
      await assertRejects(() => DirLock.acquire(dir, { signal }), DOMException);
    });
    DirLock.acquireSync(dir).release();
  }));

test("DirLock refuses a lock file name that Windows would change", () =>
  inTempDir(async (dir) => {
    await whileScanned(0, async () => {
      for (const lockFileName of ["a*b", "NUL", "lock.", "lock "]) {
        await assertRejects(() => DirLock.acquire(dir, { lockFileName }), RangeError);
      }
      await assertRejects(() => atomicWrite(path.join(dir, "a?b"), "new"), TypeError);
    });
    assertEquals(fs.readdirSync(dir), []);
  }));

testWithLinks(
  "DirLock identifies a lock file without an identity by its real path",
  () =>
    inTempDir(async (dir) => {
      const [one, other] = [path.join(dir, "one"), path.join(dir, "other")];
      fs.mkdirSync(one);
      fs.symlinkSync(one, other, "junction");
      await onPlatform(noIdentity, () => {
        const lock = DirLock.acquireSync(one);
        assertThrows(() => DirLock.acquireSync(other, { timeout: 1_000 }), DeadlockError);
        lock.release();
        DirLock.acquireSync(other).release();
      });
    }),
);

const volumes = process.env.APERTURE_VOLUMES?.split(";") ?? [];

test("DirLock distinguishes lock files that have the same index on different volumes", () => {
  const locks = volumes.map((volume) => DirLock.acquireSync(volume));
  const [one, other] = locks.map(({ path }) => fs.statSync(path, { bigint: true }).ino);
  assertEquals(one, other);
  for (const lock of locks) lock.release();
}, { skip: volumes.length !== 2 && "requires two such volumes in APERTURE_VOLUMES" });
