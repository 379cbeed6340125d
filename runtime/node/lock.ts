import process from "node:process";
import { isMainThread } from "node:worker_threads";
import { windowsCalls } from "../native/calls_windows.ts";
import { loadFlock } from "../native/flock.ts";
import { loadKoffi } from "../native/koffi.ts";
import type { LockFile, Runtime } from "../types.ts";
import { unixLocks } from "./lock_unix.ts";
import { windowsLocks } from "./lock_windows.ts";

let open: Runtime["openLock"] | undefined;

/**
 * Opens an existing lock file. Node has no file locks, so they are called through an FFI, which is
 * loaded by the first lock: programs that only write files do not need one.
 */
export function openLock(path: string, access: "read-write" | "read"): LockFile {
  open ??= isMainThread ? opener() : closingAtExit(opener());
  return open(path, access);
}

function opener(): Runtime["openLock"] {
  if (process.platform === "win32") return windowsLocks(windowsCalls(loadKoffi()));
  return unixLocks(loadFlock());
}

/**
 * Closes lock files when a worker thread ends, which may otherwise leave descriptors open and locks
 * held: Bun does, and so does Node with `trackUnmanagedFds: false`, or on Windows, where koffi opens
 * the files.
 */
function closingAtExit(open: Runtime["openLock"]): Runtime["openLock"] {
  const unclosed = new Set<LockFile>();
  process.on("exit", () => {
    for (const each of unclosed) {
      each.close();
      each.closed = true;
    }
  });
  return (path, access) => {
    const file = open(path, access);
    const closing: LockFile = {
      ...file,
      // Not after the thread's end: the descriptor's number may belong to another file.
      unlock() {
        if (unclosed.has(closing)) file.unlock();
      },
      close() {
        if (unclosed.delete(closing)) file.close();
      },
    };
    unclosed.add(closing);
    return closing;
  };
}
