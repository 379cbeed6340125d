import { toNamespacedPath } from "node:path";
import type { Koffi } from "./koffi.ts";

/** The kernel32.dll calls that Node does not provide. The boolean results report success. */
export interface WindowsCalls {
  /** Opens an existing file with CreateFileW and all share modes; returns -1 on failure. */
  open(path: string, access: number, flags: number): number;
  /** GetFileInformationByHandle: {@link https://learn.microsoft.com/windows/win32/api/fileapi/ns-fileapi-by_handle_file_information} */
  information(file: number, into: Uint8Array): boolean;
  lock(file: number, flags: number): boolean;
  unlock(file: number): boolean;
  close(file: number): void;
  /** Returns the error code of the previous call, from GetLastError. */
  lastError(): number;
}

const SHARE_ALL = 7, OPEN_EXISTING = 3;
/** The entire byte range of a file, which is also what Deno and Rust lock. */
const ALL = 0xffff_ffff;
const OVERLAPPED_BYTES = 32;

/**
 * Loads the calls with koffi.
 *
 * Structures are passed as bytes: koffi's named types are per process, so a second copy of this
 * module could not define them again.
 */
export function windowsCalls(koffi: Koffi): WindowsCalls {
  const kernel32 = koffi.load("kernel32.dll");
  const call = (prototype: string) => kernel32.func(prototype) as (...args: unknown[]) => number;
  const createFile = call(
    "intptr_t __stdcall CreateFileW(str16 name, uint32_t access, uint32_t share, " +
      "void *security, uint32_t disposition, uint32_t flags, intptr_t template)",
  );
  const fileInformation = call(
    "int __stdcall GetFileInformationByHandle(intptr_t file, void *information)",
  );
  const lockFileEx = call(
    "int __stdcall LockFileEx(intptr_t file, uint32_t flags, uint32_t reserved, " +
      "uint32_t low, uint32_t high, void *overlapped)",
  );
  const unlockFileEx = call(
    "int __stdcall UnlockFileEx(intptr_t file, uint32_t reserved, " +
      "uint32_t low, uint32_t high, void *overlapped)",
  );
  const closeHandle = call("int __stdcall CloseHandle(intptr_t file)");
  const overlapped = () => new Uint8Array(OVERLAPPED_BYTES);

  return {
    open: (path, access, flags) =>
      createFile(toNamespacedPath(path), access, SHARE_ALL, null, OPEN_EXISTING, flags, 0),
    information: (file, into) => fileInformation(file, into) !== 0,
    lock: (file, flags) => lockFileEx(file, flags, 0, ALL, ALL, overlapped()) !== 0,
    unlock: (file) => unlockFileEx(file, 0, ALL, ALL, overlapped()) !== 0,
    close: (file) => void closeHandle(file),
    lastError: call("uint32_t __stdcall GetLastError()"),
  };
}
