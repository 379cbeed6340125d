import process from "node:process";
import { isMainThread } from "node:worker_threads";
import { unixCalls, windowsCalls } from "../native/mod.ts";
import type { LockFile, Runtime } from "../types.ts";
import { unixLocks } from "./lock_unix.ts";
import { windowsLocks } from "./lock_windows.ts";

let open: Runtime["openLock"] | undefined;

/**
 * Opens an existing lock file. Node has no file locks of its own, so they come from FFI, which the
 * first lock loads: programs that only write files do not need it.
 */
export function openLock(path: string, access: "read-write" | "read"): LockFile {
  open ??= process.platform === "win32" ? windowsLocks(windowsCalls()) : unixLocks(unixCalls());
  const file = open(path, access);
  return isMainThread ? file : closedAtExit(file);
}

let unclosed: Set<LockFile> | undefined;

/**
 * A thread that ends may leave its descriptors open, and so its locks held: one of Bun does, one of
 * Node if it is told so (`trackUnmanagedFds`), or for what koffi has opened on Windows.
 */
function closedAtExit(file: LockFile): LockFile {
  if (unclosed === undefined) {
    const files = unclosed = new Set();
    process.on("exit", () => {
      for (const each of files) {
        each.close();
        each.closed = true;
      }
    });
  }
  const closing: LockFile = {
    ...file,
    // Nothing after the end: the descriptor's number may be another file's by then.
    unlock() {
      if (unclosed!.has(closing)) file.unlock();
    },
    close() {
      if (unclosed!.delete(closing)) file.close();
    },
  };
  unclosed.add(closing);
  return closing;
}
