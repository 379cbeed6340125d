import { runtime, useRuntime } from "../../runtime/mod.ts";
import type { FileInfo, LockFile, Runtime } from "../../runtime/types.ts";
import { LOCK_FILE_NAME } from "../../mod.ts";

/** Calls `fn` with parts of the runtime replaced. */
export async function onPlatform<T>(
  differences: (real: Runtime) => Partial<Runtime>,
  fn: () => T | Promise<T>,
): Promise<T> {
  const real = runtime;
  useRuntime({ ...real, ...differences(real) });
  try {
    return await fn();
  } finally {
    useRuntime(real);
  }
}

/**
 * Locks that follow the rules of `LockFileEx`: a handle with an exclusive lock cannot acquire a
 * second lock and would wait for one forever.
 */
export function windowsLocks(real: Runtime): Partial<Runtime> {
  const openLock = (path: string, access: "read-write" | "read"): LockFile => {
    const file = real.openLock(path, access);
    let held = false;
    return {
      id: file.id,
      tryLock: (exclusive) => !held && (held = file.tryLock(exclusive)),
      lock: async (exclusive) => {
        if (held) await new Promise(() => {});
        while (!file.tryLock(exclusive)) await new Promise((resolve) => setTimeout(resolve, 1));
        held = true;
      },
      unlock: () => {
        held = false;
        file.unlock();
      },
      close: () => file.close(),
    };
  };
  return { openLock, kernelWaits: 4 };
}

/** Lock files without an identity, as on a Windows file system that reports an index of 0. */
export function noIdentity(real: Runtime): Partial<Runtime> {
  const lstat = (file: string): FileInfo | undefined => {
    const info = real.sync.lstat(file);
    if (info === undefined || !file.endsWith(LOCK_FILE_NAME)) return info;
    const { kind, mode, uid, gid, size, mtime } = info;
    return { kind, id: "", mode, uid, gid, size, mtime };
  };
  return {
    async: { ...real.async, lstat },
    sync: { ...real.sync, lstat },
    openLock: (file, access) => ({ ...real.openLock(file, access), id: "" }),
  };
}
