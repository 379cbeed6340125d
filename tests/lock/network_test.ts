/** How locks behave on network file systems, as far as one machine can test this. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { DirLock, LockTimeoutError } from "../../mod.ts";
import { inTempDir } from "../support/dir.ts";
import { onPlatform } from "../support/fake.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { isWindows, test } from "../support/test.ts";

/** Calls `fn` and returns the arguments of the runtime's refreshDir() calls. */
async function refreshed(fn: () => unknown): Promise<[dir: string, fileId: string][]> {
  const calls: [string, string][] = [];
  await onPlatform(() => ({ refreshDir: (...call) => void calls.push(call) }), async () => {
    await fn();
  });
  return calls;
}

test(
  "DirLock.acquire() refreshes the directory once when it acquires the lock",
  () =>
    inTempDir(async (dir) => {
      const calls = await refreshed(async () => (await DirLock.acquire(dir)).release());
      const { dev, ino } = fs.statSync(path.join(dir, ".aperture.lock"), { bigint: true });
      assertEquals(calls, [[dir, `${dev}:${ino}`]]);
    }),
  { skip: isWindows && "file identities differ on Windows" },
);

test("DirLock.verify() refreshes the directory before it inspects the lock file", () =>
  inTempDir(async (dir) => {
    const lock = DirLock.acquireSync(dir);
    assertEquals((await refreshed(() => lock.verify())).length, 1);
    lock.release();
  }));

test("DirLock.tryAcquire() does not refresh the directory when the lock is held", () =>
  inTempDir(async (dir) => {
    const lock = DirLock.acquireSync(dir);
    assertEquals(await refreshed(() => DirLock.tryAcquire(dir)), []);
    lock.release();
  }));

test("LockTimeoutError.holders is null when no process on this machine holds the lock", () =>
  inTempDir((dir) =>
    onPlatform(() => ({ lockHolders: () => [] }), async () => {
      const lock = await DirLock.acquire(dir);
      const error = await assertRejects(
        () => DirLock.acquire(dir, { timeout: 5 }),
        LockTimeoutError,
      );
      assertEquals(error.holders, null);
      lock.release();
    })
  ));

test(
  "DirLock.acquire() mentions unreliable SMB locks when the lock call fails with EACCES",
  () =>
    inTempDir((dir) =>
      intercepted(({ name }) => {
        if (name === "lock.tryLock") throw systemError("EACCES");
      }, async () => {
        const error = await assertRejects(() => DirLock.acquire(dir), Error, "SMB");
        assertEquals((error as Error & { code?: string }).code, "EACCES");
      }).then(() => {})
    ),
  { skip: isWindows && "EACCES has other causes on Windows" },
);

test("DirLock.acquire() does not mention SMB when opening the lock file fails with EACCES", () =>
  inTempDir((dir) =>
    intercepted(({ name }) => {
      if (name === "openLock") throw systemError("EACCES");
    }, async () => {
      const error = await assertRejects(() => DirLock.acquire(dir), Error, "Cannot lock");
      assert(!error.message.includes("SMB"), error.message);
    }).then(() => {})
  ));
