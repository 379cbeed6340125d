import * as fs from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { toNamespacedPath } from "node:path";
import process from "node:process";
import { errorName } from "./errno.ts";
import { fileId, statOf } from "./node_stat.ts";
import type { LockFile, Runtime } from "./types.ts";

/** What is used of koffi, https://koffi.dev. */
interface Koffi {
  load(library: string | null): { func(prototype: string): (...args: unknown[]) => unknown };
  struct(name: string, members: Record<string, string>): unknown;
  errno(): number;
}

let open: Runtime["openLock"] | undefined;

/**
 * Opens an existing lock file. Node has no file locks of its own, so they come by FFI,
 * loaded with the first lock: who only writes files does without.
 */
export function openLock(path: string, access: "read-write" | "read"): LockFile {
  open ??= process.platform === "win32" ? windowsLocks(loadKoffi()) : unixLocks(loadKoffi());
  return open(path, access);
}

function loadKoffi(): Koffi {
  try {
    return createRequire(import.meta.url)("koffi");
  } catch (cause) {
    const message = "Locks need the package koffi, which cannot be loaded: npm install koffi";
    throw Object.assign(new Error(message, { cause }), { code: "ERR_MODULE_NOT_FOUND" });
  }
}

function noKernelWait(): Promise<never> {
  return Promise.reject(new Error("Waits in the kernel are not possible here"));
}

function unixLocks(koffi: Koffi): Runtime["openLock"] {
  const flock = koffi.load(null).func("int flock(int fd, int operation)");
  // The same numbers on Linux, macOS and the BSDs.
  const SHARED = 1, EXCLUSIVE = 2, NON_BLOCKING = 4, UNLOCK = 8;
  const { EAGAIN, EWOULDBLOCK } = constants.errno;

  return (path, access) => {
    // A raw descriptor, since a FileHandle closes itself when it is garbage-collected.
    const descriptor = fs.openSync(path, access === "read-write" ? "r+" : "r");
    const failure = (errno: number) => systemError(errorName(errno), errno, "flock", path);
    return {
      id: statOf(descriptor).id,
      tryLock(exclusive) {
        if (flock(descriptor, (exclusive ? EXCLUSIVE : SHARED) | NON_BLOCKING) === 0) return true;
        const errno = koffi.errno();
        if (errno === EAGAIN || errno === EWOULDBLOCK) return false;
        throw failure(errno);
      },
      lock: noKernelWait,
      unlock() {
        if (flock(descriptor, UNLOCK) !== 0) throw failure(koffi.errno());
      },
      close: () => fs.closeSync(descriptor),
    };
  };
}

function windowsLocks(koffi: Koffi): Runtime["openLock"] {
  koffi.struct("ApertureOverlapped", {
    Internal: "uintptr_t",
    InternalHigh: "uintptr_t",
    Offset: "uint32_t",
    OffsetHigh: "uint32_t",
    hEvent: "uintptr_t",
  });
  koffi.struct("ApertureFileInformation", {
    attributes: "uint32_t",
    times: "uint32_t [6]",
    volume: "uint32_t",
    sizeHigh: "uint32_t",
    sizeLow: "uint32_t",
    links: "uint32_t",
    indexHigh: "uint32_t",
    indexLow: "uint32_t",
  });
  const kernel32 = koffi.load("kernel32.dll");
  const createFile = kernel32.func(
    "intptr_t __stdcall CreateFileW(str16 name, uint32_t access, uint32_t share, " +
      "void *security, uint32_t disposition, uint32_t flags, intptr_t template)",
  );
  const fileInformation = kernel32.func(
    "int __stdcall GetFileInformationByHandle(intptr_t file, _Out_ ApertureFileInformation *info)",
  );
  const lockFileEx = kernel32.func(
    "int __stdcall LockFileEx(intptr_t file, uint32_t flags, uint32_t reserved, " +
      "uint32_t low, uint32_t high, _Inout_ ApertureOverlapped *overlapped)",
  );
  const unlockFileEx = kernel32.func(
    "int __stdcall UnlockFileEx(intptr_t file, uint32_t reserved, " +
      "uint32_t low, uint32_t high, _Inout_ ApertureOverlapped *overlapped)",
  );
  const closeHandle = kernel32.func("int __stdcall CloseHandle(intptr_t file)");
  const getLastError = kernel32.func("uint32_t __stdcall GetLastError()") as () => number;

  const GENERIC_READ = 0x8000_0000, GENERIC_WRITE = 0x4000_0000;
  const SHARE_ALL = 7, OPEN_EXISTING = 3, ATTRIBUTE_NORMAL = 0x80;
  const FAIL_IMMEDIATELY = 1, EXCLUSIVE = 2;
  const LOCK_VIOLATION = 33, IO_PENDING = 997;
  /** The whole range of a file, as Deno and Rust lock it. */
  const ALL = 0xffff_ffff;
  const codes = new Map([[2, "ENOENT"], [3, "ENOENT"], [5, "EACCES"], [32, "EBUSY"], [
    50,
    "ENOTSUP",
  ]]);
  const start = () => ({ Internal: 0, InternalHigh: 0, Offset: 0, OffsetHigh: 0, hEvent: 0 });

  return (path, access) => {
    const failure = (call: string, error = getLastError()) =>
      systemError(codes.get(error), error, call, path);
    const rights = access === "read-write" ? GENERIC_READ + GENERIC_WRITE : GENERIC_READ;
    const file = createFile(
      toNamespacedPath(path),
      rights,
      SHARE_ALL,
      null,
      OPEN_EXISTING,
      ATTRIBUTE_NORMAL,
      0,
    );
    if (file === -1) throw failure("CreateFileW");
    const information = {} as { indexHigh: number; indexLow: number };
    if (fileInformation(file, information) === 0) {
      const error = failure("GetFileInformationByHandle");
      closeHandle(file);
      throw error;
    }
    const { indexHigh, indexLow } = information;
    return {
      id: fileId({ dev: 0n, ino: (BigInt(indexHigh) << 32n) | BigInt(indexLow) }),
      tryLock(exclusive) {
        const flags = FAIL_IMMEDIATELY | (exclusive ? EXCLUSIVE : 0);
        if (lockFileEx(file, flags, 0, ALL, ALL, start()) !== 0) return true;
        const error = getLastError();
        if (error === LOCK_VIOLATION || error === IO_PENDING) return false;
        throw failure("LockFileEx", error);
      },
      lock: noKernelWait,
      unlock() {
        if (unlockFileEx(file, 0, ALL, ALL, start()) === 0) throw failure("UnlockFileEx");
      },
      close: () => void closeHandle(file),
    };
  };
}

/** An error as node:fs makes them. */
function systemError(
  code = "UNKNOWN",
  errno: number,
  syscall: string,
  path: string,
): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${syscall} '${path}'`), {
    code,
    errno: -errno,
    syscall,
    path,
  });
}
