import * as fs from "node:fs";
import * as os from "node:os";
import { errorName, systemError } from "../shared/error_codes.ts";
import { statOf } from "./stat.ts";
import type { Runtime } from "../types.ts";
import type { Flock } from "../native/flock.ts";

/** The flock(2) constants, which are the same on Linux, macOS and the BSDs. */
const SHARED = 1, EXCLUSIVE = 2, NON_BLOCKING = 4, UNLOCK = 8;

/** Opens lock files and locks them as Deno does: with flock(2). */
export function unixLocks(flock: Flock): Runtime["openLock"] {
  const { EAGAIN } = os.constants.errno;
  const { O_RDWR, O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  return (path, access) => {
    // Use a raw descriptor, since a FileHandle closes itself when it is garbage-collected.
    const flags = (access === "read-write" ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK;
    const descriptor = fs.openSync(path, flags);
    const failure = (errno: number) => systemError(errorName(errno), errno, "flock", path);
    return {
      id: statOf(descriptor).id,
      tryLock(exclusive) {
        const errno = flock(descriptor, (exclusive ? EXCLUSIVE : SHARED) | NON_BLOCKING);
        // EWOULDBLOCK has the same number.
        if (errno !== 0 && errno !== EAGAIN) throw failure(errno);
        return errno === 0;
      },
      unlock() {
        const errno = flock(descriptor, UNLOCK);
        if (errno !== 0) throw failure(errno);
      },
      close: () => fs.closeSync(descriptor),
    };
  };
}
