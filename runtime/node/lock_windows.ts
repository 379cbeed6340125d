import { fileId } from "../shared/file_id.ts";
import type { Runtime } from "../types.ts";
import type { WindowsCalls } from "../native/calls_windows.ts";
import { systemError, windowsErrorName } from "../shared/error_codes.ts";

const GENERIC_READ = 0x8000_0000, GENERIC_WRITE = 0x4000_0000;
const ATTRIBUTE_NORMAL = 0x80;
const FAIL_IMMEDIATELY = 1, EXCLUSIVE = 2;
/** ERROR_INVALID_FUNCTION, the error on a file system that does not support locks. */
const INVALID_FUNCTION = 1;
const LOCK_VIOLATION = 33;
/** The size of BY_HANDLE_FILE_INFORMATION, and the offsets of some of its fields. */
const INFORMATION_BYTES = 52, VOLUME = 28, INDEX_HIGH = 44, INDEX_LOW = 48;

/** Opens lock files and locks them as Deno does: with LockFileEx, over the whole range. */
export function windowsLocks(calls: WindowsCalls): Runtime["openLock"] {
  return (path, access) => {
    const failure = (call: string, error = calls.lastError()) =>
      systemError(windowsErrorName(error), error, call, path);
    const rights = access === "read-write" ? GENERIC_READ + GENERIC_WRITE : GENERIC_READ;
    const file = calls.open(path, rights, ATTRIBUTE_NORMAL);
    if (file === -1) throw failure("CreateFileW");
    const information = new Uint8Array(INFORMATION_BYTES);
    if (!calls.information(file, information)) {
      const error = failure("GetFileInformationByHandle");
      calls.close(file);
      throw error;
    }
    return {
      id: idOf(information),
      tryLock(exclusive) {
        if (calls.lock(file, FAIL_IMMEDIATELY | (exclusive ? EXCLUSIVE : 0))) return true;
        const error = calls.lastError();
        if (error === LOCK_VIOLATION) return false;
        if (error !== INVALID_FUNCTION) throw failure("LockFileEx", error);
        throw systemError("ENOTSUP", error, "LockFileEx", path);
      },
      unlock() {
        if (!calls.unlock(file)) throw failure("UnlockFileEx");
      },
      close: () => calls.close(file),
    };
  };
}

function idOf(information: Uint8Array): string {
  const view = new DataView(information.buffer);
  const part = (offset: number) => BigInt(view.getUint32(offset, true));
  return fileId({ dev: part(VOLUME), ino: part(INDEX_HIGH) << 32n | part(INDEX_LOW) }, true);
}
