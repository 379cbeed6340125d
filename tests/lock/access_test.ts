/** The mode and owner of a new lock file. */
import { assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { DirLock } from "../../mod.ts";
import { inTempDir } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { isRoot, isWindows, test } from "../support/test.ts";

const skip = isWindows && "Windows has no permission bits";

/** Sets a directory's mode, locks the directory under a umask, and returns the lock file's mode. */
function lockFileMode(dir: string, mode: number, umask: number): number {
  fs.chmodSync(dir, mode);
  const previous = process.umask(umask);
  try {
    const lock = DirLock.acquireSync(dir);
    lock.release();
    return fs.statSync(lock.path).mode & 0o777;
  } finally {
    process.umask(previous);
  }
}

for (
  const [mode, expected] of [
    [0o755, 0o644],
    [0o775, 0o664],
    [0o700, 0o600],
    [0o777, 0o666],
    [0o300, 0o600],
  ]
) {
  for (const umask of [0o022, 0o077]) {
    const octal = (bits: number) => `0${bits.toString(8)}`;

    test(
      `DirLock.acquireSync() creates a lock file with mode ${octal(expected!)} in a directory ` +
        `with mode ${octal(mode!)} when the umask is ${octal(umask)}`,
      () => inTempDir((dir) => assertEquals(lockFileMode(dir, mode!, umask), expected)),
      { skip },
    );
  }
}

test(
  "DirLock.acquireSync() does not change the mode of an existing lock file",
  () =>
    inTempDir((dir) => {
      const first = DirLock.acquireSync(dir);
      first.release();
      fs.chmodSync(first.path, 0o640);
      DirLock.acquireSync(dir).release();
      assertEquals(fs.statSync(first.path).mode & 0o777, 0o640);
    }),
  { skip },
);

test(
  "DirLock.acquireSync() gives a new lock file the directory's owner and group when run as root",
  () =>
    inTempDir((root) => {
      const dir = path.join(root, "dir");
      fs.mkdirSync(dir);
      fs.chownSync(dir, 12_345, 23_456);
      const lock = DirLock.acquireSync(dir);
      lock.release();
      const { uid, gid } = fs.statSync(lock.path);
      assertEquals([uid, gid], [12_345, 23_456]);
    }),
  { skip: !isRoot && "requires root" },
);

test(
  "DirLock.acquire() succeeds when the file system refuses to set the lock file's mode",
  () =>
    inTempDir(async (dir) => {
      const calls = await intercepted(({ name }) => {
        if (name === "file.chmod") throw systemError("EPERM");
      }, async () => (await DirLock.acquire(dir)).release());
      assertEquals(calls.filter(({ name }) => name === "file.close").length, 1);
    }),
  { skip },
);
