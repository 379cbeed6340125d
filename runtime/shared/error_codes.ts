/** Error numbers of Windows by the code that libuv and Deno give them, and some that those lack. */
const CODES: ReadonlyMap<number, string> = new Map([
  [1, "EISDIR"], // ERROR_INVALID_FUNCTION
  [2, "ENOENT"], // ERROR_FILE_NOT_FOUND
  [3, "ENOENT"], // ERROR_PATH_NOT_FOUND
  [4, "EMFILE"], // ERROR_TOO_MANY_OPEN_FILES
  [5, "EPERM"], // ERROR_ACCESS_DENIED
  [19, "EROFS"], // ERROR_WRITE_PROTECT
  [32, "EBUSY"], // ERROR_SHARING_VIOLATION
  [33, "EBUSY"], // ERROR_LOCK_VIOLATION
  [39, "ENOSPC"], // ERROR_HANDLE_DISK_FULL
  [50, "ENOTSUP"], // ERROR_NOT_SUPPORTED
  [80, "EEXIST"], // ERROR_FILE_EXISTS
  [112, "ENOSPC"], // ERROR_DISK_FULL
  [183, "EEXIST"], // ERROR_ALREADY_EXISTS
  [1224, "EBUSY"], // ERROR_USER_MAPPED_FILE
  [1295, "EDQUOT"], // ERROR_DISK_QUOTA_EXCEEDED
]);

/** The code of an error number of Windows: as libuv does, "UNKNOWN" for one without. */
export function windowsErrorName(error: number): string {
  return CODES.get(error) ?? "UNKNOWN";
}

/**
 * The error of a call that the file system does not know. Windows says "Incorrect function" (1),
 * which libuv and Deno tell as EISDIR: right for a read, misleading for a lock or a hard link.
 */
export function notSupported(error: unknown, code: string | undefined): unknown {
  if (code !== "EISDIR" || !(typeof error === "object" && error !== null)) return error;
  return Object.assign(error, { code: "ENOTSUP" });
}
