import process from "node:process";
import { windowsCalls } from "../native/calls_windows.ts";
import { loadFlock } from "../native/flock.ts";
import { loadKoffi } from "../native/koffi.ts";
import { builtin } from "../shared/builtin.ts";
import type { LockFile, Runtime } from "../types.ts";
import { unixLocks } from "./lock_unix.ts";
import { windowsLocks } from "./lock_windows.ts";

let open: Runtime["openLock"] | undefined;

/**
 * Opens an existing lock file.
 *
 * Node has no API for file locks, so they are taken through an FFI. It is loaded when the first
 * lock file is opened, because programs that only write files do not need it.
 */
export function openLock(path: string, access: "read-write" | "read"): LockFile {
  if (open === undefined) {
    const { isMainThread } = builtin<typeof import("node:worker_threads")>("node:worker_threads");
    open = isMainThread ? opener() : closingAtExit(opener());
  }
  return open(path, access);
}

function opener(): Runtime["openLock"] {
  if (process.platform === "win32") return windowsLocks(windowsCalls(loadKoffi()));
  return unixLocks(loadFlock());
}

/**
 * Closes lock files when a worker thread exits. Otherwise, descriptors would stay open and locks
 * would stay held on Bun, on Node with `trackUnmanagedFds: false`, and on Windows, where koffi
 * opens the files.
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
      // Do not unlock after the thread has exited: by then, the descriptor number may belong to
      // another file.
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
