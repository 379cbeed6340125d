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
 * Opens an existing lock file. Node has no file locks of its own, so they come from FFI, which the
 * first lock loads: programs that only write files do not need it.
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
 * A thread that ends may leave its descriptors open, and so its locks held: one of Bun does, one of
 * Node if it is told so (`trackUnmanagedFds`), or for what koffi has opened on Windows.
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
      // Nothing after the end: the descriptor's number may be another file's by then.
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
