import process from "node:process";
import { unixCalls, windowsCalls } from "./native.ts";
import type { LockFile, Runtime } from "./types.ts";
import { unixLocks } from "./unix_lock.ts";
import { windowsLocks } from "./windows_lock.ts";

let open: Runtime["openLock"] | undefined;

/**
 * Opens an existing lock file. Node has no file locks of its own, so they come by FFI,
 * loaded with the first lock: who only writes files does without.
 */
export function openLock(path: string, access: "read-write" | "read"): LockFile {
  open ??= process.platform === "win32" ? windowsLocks(windowsCalls()) : unixLocks(unixCalls());
  return open(path, access);
}
