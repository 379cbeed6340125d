/**
 * What Windows, macOS and libc ask of the library, shown through calls that behave as theirs do:
 * the same on every machine.
 */
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import { constants } from "node:os";
import * as path from "node:path";
import process from "node:process";
import { fileUrlPath } from "../../internal/base/file_url.ts";
import { faultOnWindows } from "../../internal/base/windows_names.ts";
import { pathKey, resolveFrom } from "../../internal/base/paths.ts";
import { tempPath } from "../../internal/write/temp_name.ts";
import {
  atomicWrite,
  atomicWriteSync,
  DeadlockError,
  DirLock,
  LockTimeoutError,
} from "../../mod.ts";
import { fileId } from "../../runtime/shared/file_id.ts";
import { fullSync, isNoFullSync } from "../../runtime/native/full_sync.ts";
import type { Koffi } from "../../runtime/native/koffi.ts";
import { runtime, useRuntime } from "../../runtime/mod.ts";
import type { Runtime } from "../../runtime/types.ts";
import { bunCalls } from "../../runtime/native/calls_unix.ts";
import { type WindowsCalls, windowsCalls } from "../../runtime/native/calls_windows.ts";
import { notSupported, windowsErrorName } from "../../runtime/shared/error_codes.ts";
import { windowsLocks } from "../../runtime/node/lock_windows.ts";
import { retryLookup } from "../../runtime/shared/windows_refusal.ts";
import { posixRename, renameInformation } from "../../runtime/native/rename_windows.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { noIdentity, onPlatform } from "../support/fake.ts";
import { systemError } from "../support/runtime.ts";
import { isBun, isWindows, test, testWithLinks } from "../support/test.ts";

/** Calls of a Windows on which all that is tried succeeds, less `changes`. */
function windows(changes: Partial<WindowsCalls> = {}): WindowsCalls {
  return {
    open: () => 4,
    information: () => true,
    lock: () => true,
    unlock: () => true,
    change: () => true,
    close: () => {},
    lastError: () => 0,
    ...changes,
  };
}

/** Writes what GetFileInformationByHandle tells of a file. */
function information(volume: number, index: bigint): WindowsCalls["information"] {
  return (_, into) => {
    const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
    assertEquals(view.byteLength, 52);
    view.setUint32(28, volume, true);
    view.setUint32(44, Number(index >> 32n), true);
    view.setUint32(48, Number(index & 0xffff_ffffn), true);
    return true;
  };
}

test("windowsCalls() defines no named type, which a second copy of the module could not", () => {
  const names = new Set<string>();
  const koffi = {
    load: () => ({ func: () => () => 1 }),
    // As koffi does, whose names are the process's.
    struct(name: string) {
      if (names.has(name)) throw new TypeError(`Duplicate type name '${name}'`);
      names.add(name);
    },
  } as unknown as Koffi;
  for (let copies = 0; copies < 2; copies++) {
    const lock = windowsLocks(windowsCalls(koffi))("C:\\lock", "read");
    assert(lock.tryLock(true));
  }
});

test("fileId() tells volumes apart on Windows, and a path's is its handle's", () => {
  const path = (dev: bigint) => fileId({ dev, ino: 7n << 48n }, true);
  const handle = (volume: number) =>
    windowsLocks(windows({ information: information(volume, 7n << 48n) }))("lock", "read").id;
  assert(path(0x1111_1111n) !== path(0x2222_2222n));
  assert(handle(0x1111_1111) !== handle(0x2222_2222));
  assertEquals(path(0x5678_1234_9abc_def0n), handle(0x9abc_def0));
  assertEquals(path(-0x6543_2110n), handle(0x9abc_def0), "signed, as a BigInt64Array has it");
});

test("fileId() is none where Windows has no index, for a path and for its handle", () => {
  for (const ino of [0n, 2n ** 64n - 1n, -1n]) assertEquals(fileId({ dev: 1n, ino }, true), "");
  for (const index of [0n, 2n ** 64n - 1n]) {
    const open = windowsLocks(windows({ information: information(1, index) }));
    assertEquals(open("lock", "read").id, "");
  }
});

test("LockFile.tryLock() on Windows: a violation is a refusal, IO_PENDING and others are none", () => {
  const locked = (error: number) =>
    windowsLocks(windows({ lock: () => false, lastError: () => error }))("C:\\lock", "read");
  assertEquals(locked(33).tryLock(true), false);
  assertThrows(() => locked(997).tryLock(true), Error, "UNKNOWN: LockFileEx");
  assertThrows(() => locked(1).tryLock(true), Error, "ENOTSUP: LockFileEx");
});

test("openLock() on Windows tells what stands in the way, and closes what it has opened", () => {
  const refused = (error: number) => () =>
    windowsLocks(windows({ open: () => -1, lastError: () => error }))("C:\\lock", "read-write");
  assertThrows(refused(32), Error, "EBUSY: CreateFileW");
  assertThrows(refused(19), Error, "EROFS: CreateFileW");
  assertThrows(refused(53), Error, "UNKNOWN: CreateFileW");
  const closed: number[] = [];
  const untold = windows({ information: () => false, close: (file) => closed.push(file) });
  assertThrows(() => windowsLocks(untold)("C:\\lock", "read"), Error, "GetFileInformation");
  assertEquals(closed, [4]);
});

test("windowsErrorName() has a code for every number", () => {
  const codes = [1, 4, 19, 53, 59, 67, 1224, 1295].map(windowsErrorName);
  const unknown = "UNKNOWN";
  assertEquals(codes, ["EISDIR", "EMFILE", "EROFS", unknown, unknown, unknown, "EBUSY", "EDQUOT"]);
});

test("notSupported() says of a call that a file system of Windows lacks that it has it not", () => {
  const error = systemError("EISDIR");
  assertStrictEquals(notSupported(error, "EISDIR"), error);
  assertEquals((error as { code?: unknown }).code, "ENOTSUP");
  const other = systemError("EEXIST");
  assertStrictEquals(notSupported(other, "EEXIST"), other);
  assertEquals((other as { code?: unknown }).code, "EEXIST");
});

test("renameInformation() is FILE_RENAME_INFO of 64 and of 32 bits", () => {
  const bytes = (text: string) => Uint8Array.from(text.match(/../g)!, (pair) => parseInt(pair, 16));
  const name = "610022220000"; // "a∢" and a NUL
  assertEquals(
    renameInformation("a∢", 8),
    bytes(`0300000000000000${"0000000000000000"}04000000${name}`),
  );
  assertEquals(
    renameInformation("a∢", 4),
    bytes(`03000000${"00000000"}04000000${name}`),
  );
});

test("posixRename() closes its handle, and is false where Windows refuses", () => {
  const calls: string[] = [];
  const of = (opened: number, changed: boolean) =>
    windows({
      open: () => opened,
      change: (file, kind) => (calls.push(`change ${file} ${kind}`), changed),
      close: (file) => calls.push(`close ${file}`),
    });
  assertEquals(posixRename(of(-1, true), "from", "to"), false);
  assertEquals(posixRename(of(8, false), "from", "to"), false);
  assertEquals(posixRename(of(9, true), "from", "to"), true);
  assertEquals(calls, ["change 8 22", "close 8", "change 9 22", "close 9"]);
});

test("retryLookup() gets through once a file that was being removed is gone", () => {
  const pauses: number[] = [];
  const look = (refusals: number, code = "EPERM") => () => {
    if (pauses.length < refusals) throw systemError(code);
    return "found";
  };
  const codeOf = (error: { code?: unknown }) => String(error.code);
  const sleep = (time: number) => pauses.push(time);
  assertEquals(retryLookup(look(5), codeOf, sleep), "found");
  assertEquals(pauses, [1, 2, 4, 8, 8]);
  assertThrows(() => retryLookup(look(Infinity), codeOf, sleep), Error, "EPERM");
  assertEquals(pauses.length, 10);
  assertThrows(() => retryLookup(look(Infinity, "ENOENT"), codeOf, sleep), Error, "ENOENT");
  assertEquals(pauses.length, 10);
});

test("resolveFrom() of Windows means what path.win32.resolve() does", () => {
  const from = (directory: string, path: string) => resolveFrom(directory, path, true);
  assertEquals(from("C:\\work", "foo"), "C:\\work\\foo");
  assertEquals(from("C:\\work", "C:foo"), "C:\\work\\foo");
  assertEquals(from("C:\\work", "c:..\\foo"), "c:\\foo");
  assertEquals(from("D:\\links", "\\data\\x"), "D:\\data\\x");
  assertEquals(from("C:\\work", "D:/a/./b//c"), "D:\\a\\b\\c");
  assertEquals(from("\\\\host\\share\\a", "\\b"), "\\\\host\\share\\b");
  assertEquals(from("C:\\work", "\\\\?\\C:\\a."), "\\\\?\\C:\\a.");
  assertEquals(from("C:\\work", "foo/"), "C:\\work\\foo\\");
  assertEquals(from("C:\\work", "\\"), "C:\\");
});

test("resolveFrom() of Windows uses another drive's own directory, its root if that is not told", () => {
  const real = runtime;
  const told = (cwdOf: (drive: string) => string | undefined) => {
    useRuntime({ ...real, cwdOf });
    return resolveFrom("C:\\work", "D:foo", true);
  };
  try {
    assertEquals(told((drive) => `${drive}\\there`), "D:\\there\\foo");
    assertEquals(told(() => undefined), "D:\\foo");
  } finally {
    useRuntime(real);
  }
});

test("resolveFrom() elsewhere leaves `..` to the kernel", () => {
  if (isWindows) return;
  assertEquals(resolveFrom("/base", "../foo"), "/base/../foo");
  assertEquals(resolveFrom("/base", "/a/../b"), "/a/../b");
  assertEquals(resolveFrom("/base", "C:foo", false), "/base/C:foo");
});

test("faultOnWindows() finds the names that Deno and Node would make different files of", () => {
  const bad = ["a*b", "a:b", 'a"', "a<", "a>", "a|", "a?", "a\n", "name.", "name ", "...", "NUL"];
  bad.push("nul.txt", "con", "Aux .tar.gz", "COM1", "lpt9.x", "COM²", "CONIN$");
  for (const name of bad) assert(faultOnWindows(name) !== undefined, name);
  for (const name of [".a", "a.b", "nulls", "COM", "COM10", "con_", "ä b", "a-con", "[a]"]) {
    assertEquals(faultOnWindows(name), undefined, name);
  }
});

test("fileUrlPath() judges as fileURLToPath() does", () => {
  assertEquals(fileUrlPath("file:///a%20b/c%5Cd", false), "/a b/c\\d");
  assertEquals(fileUrlPath("file:///C:/a%20b", true), "C:\\a b");
  assertEquals(fileUrlPath("file://host/share/a", true), "\\\\host\\share\\a");
  assertEquals(fileUrlPath("file://localhost/a", false), "/a");
  for (
    const [url, windows] of [
      ["file:///a%2Fb", false],
      ["file:///C:/a%2fb", true],
      ["file:///C:/a%5cb", true],
      ["file://host/a", false],
      ["file:///a", true],
      ["file:///a%zz", false],
      ["file:///a%ff", false],
      ["https://host/a", false],
    ] as const
  ) assertThrows(() => fileUrlPath(url, windows), TypeError, undefined, url);
});

test("pathKey() is one for the spellings of a path, of case and accents where those are folded", () => {
  const real = runtime;
  const keys = (foldsNames: boolean, ...paths: string[]) => {
    useRuntime({ ...real, foldsNames });
    return new Set(paths.map((one) => pathKey(one.replaceAll("/", path.sep)))).size;
  };
  try {
    assertEquals(keys(false, "/a/b", "/a/./b", "/a//b", "/a/c/../b"), 1);
    assertEquals(keys(false, "/a/b", "/a/B"), 2);
    assertEquals(keys(false, "/a/.b", "/a/..b", "/a/b..", "/a/...", "/a/b."), 5);
    assertEquals(keys(true, "/a/b", "/A/B"), 1);
    assertEquals(keys(true, "/\u00c5", "/A\u030a", "/\u212b", "/\u00e5"), 1);
    assertEquals(keys(true, "/όσος", "/ΌΣΟΣ", "/όσοσ"), 1);
  } finally {
    useRuntime(real);
  }
});

test("A sync that a share of macOS has not is let pass, and no other failure is", () => {
  for (const code of ["ENOTSUP", "ENOTTY", "EINVAL"]) {
    assertEquals(isNoFullSync(code, "darwin"), true);
    assertEquals(isNoFullSync(code, "linux"), false);
  }
  assertEquals(isNoFullSync("EIO", "darwin"), false);
  assertEquals(isNoFullSync(undefined, "darwin"), false);
});

test("fullSync() has the drive write its cache, and throws what it could not", () => {
  const { EIO, ENOTTY } = constants.errno;
  const calls: number[][] = [];
  const sync = (errno: number) =>
    fullSync({ flock: () => 0, fcntl: (...args) => (calls.push(args), errno) }, 5);
  sync(0);
  sync(ENOTTY);
  assertEquals(calls, [[5, 51], [5, 51]]);
  assertThrows(() => sync(EIO), Error, "EIO: fcntl");
});

test("bunCalls() takes what libc there is, and its error number", () => {
  const loaded: string[] = [];
  const ffi = (there: string) => ({
    dlopen(library: string, functions: Record<string, unknown>) {
      if (library !== there) throw new Error(`Failed to open library "${library}"`);
      loaded.push(`${library}: ${Object.keys(functions)}`);
      const symbols = {
        flock: () => -1,
        fcntl: () => 3,
        __error: () => 8,
        __errno_location: () => 8,
      };
      return { symbols };
    },
    read: { i32: (pointer: number) => pointer + 3 },
  });
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  for (
    const [platform, library] of [
      ["darwin", "libSystem.B.dylib"],
      ["linux", "libc.so.6"],
      ["linux", `libc.musl-${machine}.so.1`],
    ] as const
  ) {
    const calls = bunCalls(ffi(library), platform)!;
    assertEquals([calls.flock(1, 2), calls.fcntl(1, 2)], [11, 0]);
  }
  assertEquals(loaded.map((line) => line.split(",").at(-1)), [
    "__error",
    "__errno_location",
    "__errno_location",
  ]);
  assertThrows(() => bunCalls(ffi("libother"), "linux"), Error, "Failed to open");
  assertEquals(bunCalls(ffi("kernel32"), "win32"), undefined);
});

test("bunCalls() finds Bun's own FFI", () => {
  const { EBADF } = constants.errno;
  assertEquals(bunCalls()!.flock(-1, 1), EBADF);
}, { skip: (!isBun || isWindows) && "bun:ffi is Bun's" });

/** Calls `fn` on a Windows where a rename is refused as long as `isOpen`; with the count of tries. */
async function whileOpen(
  isOpen: (tries: number) => boolean,
  fn: () => unknown,
  changes: Partial<Runtime> = {},
): Promise<number> {
  const real = runtime;
  let tries = 0;
  const refused = () => {
    if (isOpen(++tries)) throw systemError("EPERM");
  };
  useRuntime({
    ...real,
    ...changes,
    windows: true,
    async: {
      ...real.async,
      rename: async (from, to) => (refused(), await real.async.rename(from, to)),
    },
    sync: { ...real.sync, rename: (from, to) => (refused(), real.sync.rename(from, to)) },
  });
  try {
    await fn();
  } finally {
    useRuntime(real);
  }
  return tries;
}

test("atomicWrite() gets in between readers of Windows, who are seldom away", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    assertEquals(await whileOpen((tries) => tries < 40, () => atomicWrite(file, "new")), 40);
    assertEquals([text(file), list(dir)], ["new", ["file"]]);
  }));

test("atomicWriteSync() tries a rename for 8 s on Windows, pausing no longer than 8 ms", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    const { now } = performance;
    const began = now.call(performance);
    let slept = 0;
    performance.now = () => began + slept;
    const sleep = (time: number) => {
      assert(time >= 0 && time <= 8, `${time} ms`);
      slept += time;
    };
    try {
      const error = await assertRejects(
        () => whileOpen(() => true, () => atomicWriteSync(file, "new"), { sleep }),
        Error,
        "EPERM",
      );
      assertEquals((error as { step?: unknown }).step, "rename");
    } finally {
      performance.now = now;
    }
    assert(slept >= 8_000 && slept < 8_100, `${slept} ms`);
    assertEquals([text(file), list(dir)], ["old", ["file"]]);
  }));

test("atomicWrite() that waits for readers of Windows is cut short by its signal", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const controller = new AbortController();
    const isOpen = (tries: number) => {
      if (tries === 5) controller.abort(new Error("enough"));
      return true;
    };
    const write = () => atomicWrite(file, "new", { signal: controller.signal });
    await assertRejects(() => whileOpen(isOpen, write), Error, "enough");
    assertEquals(list(dir), []);
  }));

test("atomicWrite() fails at once on Windows if its target is read-only", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old", { mode: 0o444 });
    let tries = 0;
    await assertRejects(
      () => whileOpen((count) => (tries = count) > 0, () => atomicWrite(file, "new")),
      Error,
      "EPERM",
    );
    assertEquals([tries, text(file), list(dir)], [1, "old", ["file"]]);
  }));

/** A Windows where no rename succeeds, and to remove a file is refused at first. */
function removeRefused(real: Runtime, refusals: number): Partial<Runtime> {
  const rename = () => {
    throw systemError("EIO");
  };
  const refused = () => {
    if (refusals-- > 0) throw systemError("EBUSY");
  };
  const remove = (file: string) => (refused(), real.sync.remove(file));
  return {
    windows: true,
    async: { ...real.async, rename, remove: async (file) => await remove(file) },
    sync: { ...real.sync, rename, remove },
  };
}

test("atomicWrite() that failed removes a file that a scanner of Windows had open", () =>
  inTempDir(async (dir) => {
    await onPlatform(
      (real) => removeRefused(real, 5),
      () => assertRejects(() => atomicWrite(path.join(dir, "file"), "new"), Error, "EIO"),
    );
    assertEquals(list(dir), []);
  }));

test("atomicWriteSync() that failed tries to remove its file for 1 s on Windows", () =>
  inTempDir(async (dir) => {
    const { now } = performance;
    const began = now.call(performance);
    let slept = 0;
    performance.now = () => began + slept;
    const sleep = (time: number) => void (slept += time);
    try {
      await onPlatform(
        (real) => ({ ...removeRefused(real, Infinity), sleep }),
        () => assertThrows(() => atomicWriteSync(path.join(dir, "file"), "new"), Error, "EIO"),
      );
    } finally {
      performance.now = now;
    }
    assert(slept >= 1_000 && slept < 1_100, `${slept} ms`);
  }));

for (const createNew of [false, true]) {
  const title = `atomicWriteSync() takes over ${createNew ? "a createNew" : "a write"}`;
  test(`${title} whose file a scanner of Windows has open`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      let refusals = 5;
      const refused = () => {
        if (refusals-- > 0) throw systemError("EBUSY");
      };
      let publishes = () => {};
      const publishing = new Promise<void>((resolve) => publishes = resolve);
      let fail = (_: Error) => {};
      const inPool = new Promise<never>((_, reject) => fail = reject);
      const publish = () => (publishes(), inPool);
      await onPlatform((real) => ({
        windows: true,
        async: { ...real.async, rename: publish, link: publish },
        sync: {
          ...real.sync,
          rename: (from, to) => (refused(), real.sync.rename(from, to)),
          remove: (path) => (refused(), real.sync.remove(path)),
        },
      }), async () => {
        const first = atomicWrite(file, "first", { createNew });
        await publishing;
        atomicWriteSync(file, "second");
        fail(systemError("ENOENT"));
        await first;
      });
      assertEquals([text(file), list(dir)], ["second", ["file"]]);
    }));
}

test("atomicWrite() can replace what it wrote with a mode that lets nobody write", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (const data of ["first", "second"]) await atomicWrite(file, data, { mode: 0o444 });
    atomicWriteSync(file, "third", { mode: 0o444 });
    assertEquals(text(file), "third");
  }));

test("A temporary name has no more UTF-16 units than Windows allows", () => {
  for (let length = 200; length <= 255; length++) {
    const name = path.basename(tempPath(path.resolve("語".repeat(length))));
    assert(name.length <= Math.max(143, length), `${name.length} for ${length}`);
  }
});

/** Calls `fn` on a Windows where a scanner has lock files open, shared with nobody, for some opens. */
async function whileScanned(opens: number, fn: () => unknown): Promise<void> {
  const real = runtime;
  const openLock: Runtime["openLock"] = (file, access) => {
    if (opens-- > 0) throw systemError("EBUSY");
    return real.openLock(file, access);
  };
  useRuntime({ ...real, windows: true, openLock });
  try {
    await fn();
  } finally {
    useRuntime(real);
  }
}

test("DirLock takes a lock file that a scanner of Windows has open for one that is not free", () =>
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

test("DirLock refuses a name for its file that Windows would change", () =>
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
  "DirLock knows a file without an identity by its real path",
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

test("DirLock tells two volumes apart whose files have the same numbers", () => {
  const locks = volumes.map((volume) => DirLock.acquireSync(volume));
  const [one, other] = locks.map(({ path }) => fs.statSync(path, { bigint: true }).ino);
  assertEquals(one, other);
  for (const lock of locks) lock.release();
}, { skip: volumes.length !== 2 && "there are no two such volumes: APERTURE_VOLUMES" });
