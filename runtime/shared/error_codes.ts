import * as os from "node:os";

/** The name of an `errno` value, such as `"ENOENT"`. */
export function errorName(errno: number): string | undefined {
  // Do not use a bare `constants`, which file-tracing tools mistake for the one from `node:fs`.
  return Object.entries(os.constants.errno).find(([, value]) => value === errno)?.[0];
}

/** The codes that libuv and Deno assign to Windows error numbers, and a few that both lack. */
const WINDOWS_CODES: ReadonlyMap<number, string> = new Map([
  [1, "EISDIR"], // ERROR_INVALID_FUNCTION
  [2, "ENOENT"], // ERROR_FILE_NOT_FOUND
  [3, "ENOENT"], // ERROR_PATH_NOT_FOUND
  [4, "EMFILE"], // ERROR_TOO_MANY_OPEN_FILES
  [5, "EPERM"], // ERROR_ACCESS_DENIED
  [19, "EROFS"], // ERROR_WRITE_PROTECT
  [32, "EBUSY"], // ERROR_SHARING_VIOLATION
  [33, "EBUSY"], // ERROR_LOCK_VIOLATION
  [50, "ENOTSUP"], // ERROR_NOT_SUPPORTED
  [1224, "EBUSY"], // ERROR_USER_MAPPED_FILE
  [1295, "EDQUOT"], // ERROR_DISK_QUOTA_EXCEEDED
]);

/** The code for a Windows error number, or `"UNKNOWN"`, as in libuv, if there is none. */
export function windowsErrorName(error: number): string {
  return WINDOWS_CODES.get(error) ?? "UNKNOWN";
}

/** An error like those from `node:fs`. */
export function systemError(
  code = "UNKNOWN",
  errno: number,
  syscall: string,
  path: string,
): NodeJS.ErrnoException {
  const error = new Error(`${code}: ${syscall} '${path}'`);
  return Object.assign(error, { code, errno: -errno, syscall, path });
}
