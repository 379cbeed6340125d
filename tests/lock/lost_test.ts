/**
 * Lost locks: a lock no longer excludes other processes once its file has been removed or replaced.
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { atomicUpdate, atomicUpdateSync, DirLock, LockLostError } from "../../mod.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { noIdentity, onPlatform } from "../support/fake.ts";
import { isWindows, test } from "../support/test.ts";

const skip = isWindows && "an open file keeps its name on Windows";

/** Ways to lose a lock. */
const LOSSES: [string, (lock: DirLock) => void][] = [
  ["its file is removed", ({ path }) => fs.unlinkSync(path)],
  ["its file is replaced", ({ path }) => {
    fs.writeFileSync(`${path}.new`, "");
    fs.renameSync(`${path}.new`, path);
  }],
  ["its directory is moved away", ({ dir }) => fs.renameSync(dir, `${dir}.old`)],
];

test("DirLock.verify() succeeds when the path refers to the locked file", () =>
  inTempDir((dir) => {
    for (const shared of [false, true]) {
      const lock = DirLock.acquireSync(dir, { shared });
      assertEquals(lock.verify(), undefined);
      fs.writeFileSync(lock.path, "somebody's");
      assertEquals(lock.verify(), undefined);
      lock.release();
    }
  }));

test("DirLock.verify() succeeds when the lock file has no identity", () =>
  inTempDir((dir) =>
    onPlatform(noIdentity, () => {
      const lock = DirLock.acquireSync(dir);
      assertEquals(lock.verify(), undefined);
      lock.release();
    })
  ));

test(
  "DirLock.verify() throws a LockLostError when the directory is replaced by a file",
  () =>
    inTempDir((root) => {
      const lock = DirLock.acquireSync(path.join(root, "dir"));
      fs.renameSync(lock.dir, `${lock.dir}.old`);
      fs.writeFileSync(lock.dir, "");
      assertThrows(() => lock.verify(), LockLostError);
      lock.release();
    }),
  { skip },
);

for (const [what, lose] of LOSSES) {
  test(`DirLock.verify() throws a LockLostError when ${what}`, () =>
    inTempDir((root) => {
      const lock = DirLock.acquireSync(path.join(root, "dir"));
      lose(lock);
      const error = assertThrows(() => lock.verify(), LockLostError);
      assert(error instanceof Error);
      assertEquals([error.name, error.code, error.path], ["LockLostError", "ESTALE", lock.path]);
      assert(error.message.includes(lock.path), error.message);
      lock.release();
    }), { skip });

  for (const form of ["atomicUpdate", "atomicUpdateSync"]) {
    const update = form === "atomicUpdate" ? atomicUpdate : atomicUpdateSync;

    test(
      `${form}() throws a LockLostError when ${what} before the call`,
      () =>
        inTempDir(async (root) => {
          const lock = DirLock.acquireSync(path.join(root, "dir"));
          lose(lock);
          fs.mkdirSync(lock.dir, { recursive: true });
          let called = false;
          const fn = () => (called = true, "mine");
          const file = path.join(lock.dir, "file");
          await assertRejects(async () => await update(file, fn, { lock }), LockLostError);
          assert(!called);
          lock.release();
        }),
      { skip },
    );

    test(
      `${form}() writes nothing when ${what} while its function runs`,
      () =>
        inTempDir(async (root) => {
          const lock = DirLock.acquireSync(path.join(root, "dir"));
          const file = path.join(lock.dir, "file");
          const fn = () => {
            lose(lock);
            fs.mkdirSync(lock.dir, { recursive: true });
            fs.writeFileSync(file, "another's");
            return "mine";
          };
          await assertRejects(async () => await update(file, fn, { lock }), LockLostError);
          assertEquals([text(file), list(lock.dir)], ["another's", ["file"]]);
          lock.release();
        }),
      { skip },
    );
  }
}

for (const form of ["atomicUpdate", "atomicUpdateSync"]) {
  const update = form === "atomicUpdate" ? atomicUpdate : atomicUpdateSync;

  test(
    `${form}() with its own lock writes nothing when the lock file is removed while its function runs`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        const fn = () => {
          fs.unlinkSync(path.join(dir, ".aperture.lock"));
          return "new";
        };
        await assertRejects(async () => await update(file, fn), LockLostError);
        assertEquals([text(file), list(dir)], ["old", ["file"]]);
      }),
    { skip },
  );
}
