/**
 * The Windows FFI calls and their errors, tested on every OS with fakes that behave like Windows.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Koffi } from "../../runtime/native/koffi.ts";
import { type WindowsCalls, windowsCalls } from "../../runtime/native/calls_windows.ts";
import { windowsLocks } from "../../runtime/node/lock_windows.ts";
import { windowsErrorName } from "../../runtime/shared/error_codes.ts";
import { fileId } from "../../runtime/shared/file_id.ts";
import { retryLookup } from "../../runtime/shared/windows_refusal.ts";
import { systemError } from "../support/runtime.ts";
import { test } from "../support/test.ts";

/** Returns fake Windows calls, all of which succeed unless `changes` replaces them. */
function windows(changes: Partial<WindowsCalls> = {}): WindowsCalls {
  return {
    open: () => 4,
    information: () => true,
    lock: () => true,
    unlock: () => true,
    close: () => {},
    lastError: () => 0,
    ...changes,
  };
}

/** Returns a fake GetFileInformationByHandle that reports this volume and file index. */
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

test("windowsCalls() defines no named types, so a second copy of the module can load them", () => {
  const names = new Set<string>();
  const koffi = {
    load: () => ({ func: () => () => 1 }),
    // As in koffi, the whole process shares one set of type names.
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

test("fileId() on Windows differs between volumes and is the same for a path and a handle", () => {
  const path = (dev: bigint) => fileId({ dev, ino: 7n << 48n }, true);
  const handle = (volume: number) =>
    windowsLocks(windows({ information: information(volume, 7n << 48n) }))("lock", "read").id;
  assert(path(0x1111_1111n) !== path(0x2222_2222n));
  assert(handle(0x1111_1111) !== handle(0x2222_2222));
  assertEquals(path(0x5678_1234_9abc_def0n), handle(0x9abc_def0));
  assertEquals(path(-0x6543_2110n), handle(0x9abc_def0), "signed, as read from a BigInt64Array");
});

test("fileId() is empty for a path or a handle when Windows reports no file index", () => {
  for (const ino of [0n, 2n ** 64n - 1n, -1n]) assertEquals(fileId({ dev: 1n, ino }, true), "");
  for (const index of [0n, 2n ** 64n - 1n]) {
    const open = windowsLocks(windows({ information: information(1, index) }));
    assertEquals(open("lock", "read").id, "");
  }
});

test("LockFile.tryLock() on Windows returns false on a lock violation and throws on other errors", () => {
  const locked = (error: number) =>
    windowsLocks(windows({ lock: () => false, lastError: () => error }))("C:\\lock", "read");
  assertEquals(locked(33).tryLock(true), false);
  assertThrows(() => locked(997).tryLock(true), Error, "UNKNOWN: LockFileEx");
  assertThrows(() => locked(1).tryLock(true), Error, "ENOTSUP: LockFileEx");
});

test("openLock() on Windows throws the failed call's error and closes its handle", () => {
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

test("windowsErrorName() returns UNKNOWN for an unknown error number", () => {
  const codes = [1, 4, 19, 53, 59, 67, 1224, 1295].map(windowsErrorName);
  const unknown = "UNKNOWN";
  assertEquals(codes, ["EISDIR", "EMFILE", "EROFS", unknown, unknown, unknown, "EBUSY", "EDQUOT"]);
});

test("retryLookup() succeeds once a pending removal has finished", () => {
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
