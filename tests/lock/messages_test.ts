/** The messages of lock errors, and their stacks, which start at the caller's line. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { DirLock, lockHolders, withDirLock } from "../../mod.ts";
import { inTempDir } from "../support/dir.ts";
import { isWindows, test, testWithLinks } from "../support/test.ts";

const CALLS: Record<string, (dir: string) => unknown> = {
  "DirLock.acquire": async function caller(dir: string) {
    await DirLock.acquire(dir);
  },
  "DirLock.tryAcquire": async function caller(dir: string) {
    await DirLock.tryAcquire(dir);
  },
  "DirLock.acquireSync": function caller(dir: string) {
    DirLock.acquireSync(dir).release();
  },
  "DirLock.tryAcquireSync": function caller(dir: string) {
    DirLock.tryAcquireSync(dir)!.release();
  },
  withDirLock: async function caller(dir: string) {
    await withDirLock(dir, () => {});
  },
};

for (const [name, call] of Object.entries(CALLS)) {
  test(`${name}() throws an error whose stack shows the caller`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "");
      const error = await assertRejects(async () => await call(file), Error, "Cannot lock '");
      assert(error.stack!.includes("caller"), error.stack);
      assert(!error.stack!.includes("candidate"), error.stack);
    }));
}

test("DirLock.acquire() throws a LockTimeoutError whose stack shows the caller", () =>
  inTempDir(async (dir) => {
    const lock = await DirLock.acquire(dir);
    const error = await assertRejects(async function caller() {
      await DirLock.acquire(dir, { timeout: 5 });
    }, Error);
    assert(error.stack!.includes("caller"), error.stack);
    lock.release();
  }));

test("DirLock.verify() throws a LockLostError whose stack shows the caller", () =>
  inTempDir((dir) => {
    const lock = DirLock.acquireSync(dir);
    lock.release();
    const error = assertThrows(function caller() {
      lock.verify();
    }, Error);
    assert(error.stack!.includes("caller"), error.stack);
  }));

test("new DirLock() throws a TypeError that names DirLock.acquire()", () => {
  const Class = DirLock as unknown as new (dir?: unknown) => DirLock;
  for (const args of [[], ["/tmp"], [{}]]) {
    assertThrows(() => new Class(...args), TypeError, "use await DirLock.acquire(dir)");
  }
});

/** Returns the message of the error that `fn` throws. */
async function messageOf(fn: () => unknown): Promise<string> {
  try {
    await fn();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("The call did not fail");
}

testWithLinks(
  "DirLock.acquire() says to remove the link when the lock file is a link",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, ".aperture.lock");
      fs.symlinkSync("target", file);
      const message = `Cannot lock '${file}': it is a symbolic link, which is not followed. ` +
        "Remove the link";
      assertEquals(await messageOf(() => DirLock.acquire(dir)), message);
    }),
);

test("DirLock.acquire() suggests another name when the lock file is a directory", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, ".aperture.lock");
    fs.mkdirSync(file);
    const message = `Cannot lock '${file}': it is not a regular file. Remove it, or use ` +
      "a different 'lockFileName'";
    assertEquals(await messageOf(() => DirLock.acquire(dir)), message);
  }));

test("DirLock.acquireSync() says how to avoid a deadlock", () =>
  inTempDir(async (dir) => {
    const lock = DirLock.acquireSync(dir);
    const message = await messageOf(() => DirLock.acquireSync(dir));
    assert(/is waiting for it.*Release the lock first.*'lock' option/.test(message), message);
    lock.release();
  }));

test(
  "DirLock.acquire() names the invalid option",
  () =>
    inTempDir(async (dir) => {
      const mistakes: [object, string][] = [
        [{ timeout: "5" }, "'timeout'"],
        [{ timeout: -1 }, "'timeout'"],
        [{ shared: 1 }, "'shared'"],
        [{ signal: {} }, "'signal'"],
        [{ onWait: true }, "'onWait'"],
        [{ lockFileName: "a/b" }, "'lockFileName'"],
        [{ time: 5 }, "'time'"],
      ];
      for (const [options, name] of mistakes) {
        const message = await messageOf(() => DirLock.acquire(dir, options as never));
        assert(message.includes(name), message);
      }
      assert(
        (await messageOf(() => lockHolders(dir, { shared: true } as never))).includes("shared"),
      );
      assertEquals(fs.readdirSync(dir), []);
    }),
  { skip: isWindows && "the rules for names differ on Windows" },
);
