import { runtime } from "../../runtime/mod.ts";
import type { FileInfo, LockFile } from "../../runtime/types.ts";
import { missingDirectories } from "../base/missing_directories.ts";
import { codeOf, failedWith, withContext } from "../base/errors.ts";

/** How often to try again with a lock file that was replaced in between each time. */
export const MAX_TRIES: number = 100;

/** What flock(2) fails with on a file system without locks. */
const NO_LOCKS = new Set(["ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);
/** What opening another user's lock file for writing fails with. */
const NOT_WRITABLE = new Set(["EACCES", "EPERM", "EROFS"]);

/** A lock file that somebody has open unshared, a virus scanner of Windows say. */
export const IN_USE: unique symbol = Symbol("in use");

/** Which lock file is meant. */
export interface LockPath {
  readonly dir: string;
  readonly path: string;
}

/** A lock file that may have to be created. */
export interface NewLockPath extends LockPath {
  /** Where the directories are noted that are made for it. */
  readonly createdDirs: string[];
}

/** The identity of the lock file, which is created if it is missing, and its directory too. */
export function lockFileId(lock: NewLockPath): string {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const info = lookup(lock);
    if (info === undefined) create(lock);
    else return identityOf(lock, info);
  }
  throw replacedAgain(lock);
}

/** Whether the path leads to the lock file that `id` identifies. */
export function pathStillIs(lock: LockPath, id: string): boolean {
  const info = lookup(lock);
  return info?.kind === "file" && identity(lock, info) === id;
}

/** Opens the lock file; undefined if it is no longer the one that `id` identifies. */
export function openLockFile(lock: LockPath, id: string): LockFile | typeof IN_USE | undefined {
  for (const access of ["read-write", "read"] as const) {
    try {
      const file = runtime.openLock(lock.path, access);
      if (identity(lock, file) === id) return file;
      file.close();
      return undefined;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      if (codeOf(error) === "EBUSY") return IN_USE;
      // For writing first, since flock(2) wants that on NFS; for reading does elsewhere.
      if (access === "read" || !failedWith(error, NOT_WRITABLE)) throw lockFailure(error, lock);
    }
  }
}

/** Tries to lock; false if another has the lock. */
export function tryLock(lock: LockPath, file: LockFile, shared: boolean): boolean {
  for (let tries = 1;; tries++) {
    try {
      return file.tryLock(!shared);
    } catch (error) {
      if (codeOf(error) !== "EINTR" || tries === MAX_TRIES) throw lockFailure(error, lock);
    }
  }
}

/** Unlocks and closes. It does not fail, or it would hide the error of a `using` scope. */
export function freeLockFile(file: LockFile): void {
  // A close alone frees the lock late on Windows, and on Unix not while a child that is being
  // spawned has a copy of the descriptor. What fails of the two leaves nothing to be done: the
  // descriptor is gone all the same, close(2).
  for (const free of [() => file.unlock(), () => file.close()]) {
    try {
      free();
    } catch {
      // See above.
    }
  }
}

/** The error of a call on the lock file, with what it means. */
export function lockFailure(error: unknown, { path }: LockPath): unknown {
  const hint = failedWith(error, NO_LOCKS) ? ", this file system has no locks" : "";
  return withContext(error, `Cannot lock '${path}'${hint}`);
}

/** The error for a lock file that never stays. */
export function replacedAgain({ path }: LockPath): Error {
  const message = `Cannot lock '${path}': the file is removed or replaced again and again`;
  return runtime.error("ESTALE", message, path);
}

function identityOf(lock: LockPath, info: FileInfo): string {
  if (info.kind === "file") return identity(lock, info);
  const [code, what] = info.kind === "symlink"
    ? ["ELOOP", "a symbolic link"] as const
    : ["ENOTSUP", "not a regular file"] as const;
  throw runtime.error(code, `Cannot lock '${lock.path}': it is ${what}`, lock.path);
}

function identity(lock: LockPath, { id }: { id: string }): string {
  if (id !== "") return id;
  try {
    // Two paths to one file still meet where its file system tells no number.
    return runtime.realPath(lock.path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return id; // Gone since; what is there next is another file.
    throw lockFailure(error, lock);
  }
}

function lookup(lock: LockPath): FileInfo | undefined {
  try {
    return runtime.sync.lstat(lock.path);
  } catch (error) {
    if (codeOf(error) === "ENOTDIR") return undefined; // A file has taken the directory's place.
    throw lockFailure(error, lock);
  }
}

/** Creates the lock file, exclusively: never where a link points that somebody planted. */
function create(lock: NewLockPath): void {
  try {
    runtime.sync.create(lock.path, undefined).close();
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") return;
    if (code !== "ENOENT") throw lockFailure(error, lock);
    try {
      lock.createdDirs.push(...missingDirectories(lock.dir));
      runtime.sync.ensureDir(lock.dir);
    } catch (error) {
      throw lockFailure(error, lock);
    }
  }
}

/** The ids of the processes that hold the lock of a file; null where the system does not tell. */
export function holdersOf(path: string): number[] | null {
  return runtime.lockHolders(path);
}
