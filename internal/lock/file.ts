import { runtime } from "../../runtime/mod.ts";
import type { ErrorCode, FileInfo, LockFile, OpenFile } from "../../runtime/types.ts";
import { makeDirectories } from "../base/directories.ts";
import { bestEffort, codeOf, failedWith, own, withContext } from "../base/errors.ts";
import { opened } from "../base/opened.ts";
import { runSync, type Steps } from "../base/steps.ts";
import type { LockRequest } from "./request.ts";

/** The maximum number of attempts if the lock file keeps being replaced before it can be locked. */
export const MAX_TRIES: number = 100;

/** Error codes of flock(2) on a file system that does not support locks. */
const NO_LOCKS = new Set(["ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);

/** The hint if flock(2) fails with EACCES. */
const SMB = ". The directory appears to be on an SMB mount, where Linux cannot lock files " +
  "reliably: use a local disk or NFS";

/** Returns the identity of the lock file, creating the file and its directory if necessary. */
export function* lockFileId(request: LockRequest): Steps<string> {
  const { path } = request;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const info = lookup(path);
    if (info?.kind === "file") return identity(path, info);
    if (info?.kind === "symlink") {
      const why = "it is a symbolic link, which is not followed. Remove the link";
      throw refusal("ELOOP", path, why);
    } else if (info !== undefined) {
      const why = "it is not a regular file. Remove it, or use a different 'lockFileName'";
      throw refusal("ENOTSUP", path, why);
    }
    try {
      yield* create(request);
    } catch (error) {
      throw lockFailure(error, path);
    }
  }
  throw replacedTooOften(path);
}

/** Whether `path` still refers to the lock file identified by `id`. */
export function pathStillIs(path: string, id: string): boolean {
  const info = lookup(path);
  return info?.kind === "file" && identity(path, info) === id;
}

/** The identity of a file. If the file system has no file numbers, this is the file's real path. */
export function identity(path: string, { id }: { id: string }): string {
  if (id !== "") return id;
  try {
    return runtime.realPath(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return id; // Removed: a new file will differ.
    throw lockFailure(error, path);
  }
}

/** Tries to take the lock; returns false if it is held. */
export function tryLock(path: string, file: LockFile, shared: boolean): boolean {
  for (let tries = 1;; tries++) {
    try {
      return file.tryLock(!shared);
    } catch (error) {
      const code = codeOf(error);
      if (code === "EINTR" && tries < MAX_TRIES) continue;
      // On an SMB share, Linux reports a busy lock as EACCES, and can lose locks it has granted.
      if (code === "EACCES" && !runtime.windows) {
        throw withContext(error, `Cannot lock '${path}'`, {}, SMB);
      }
      throw lockFailure(error, path);
    }
  }
}

/**
 * Unlocks and closes the file. Never throws, so that it cannot mask an error in a `using` scope.
 */
export function freeLockFile(file: LockFile): void {
  // On Windows, closing the file without unlocking it first delays the release. On Unix, closing
  // does not release the lock while a child process being spawned has a copy of the descriptor.
  // close(2) closes the descriptor even if it fails.
  bestEffort(() => file.unlock());
  bestEffort(() => file.close());
}

/** Adds context to an error: which lock file could not be locked, and a hint if there is one. */
export function lockFailure(error: unknown, path: string): unknown {
  const hint = failedWith(error, NO_LOCKS)
    ? ". The file system does not support locks: use a local disk or NFS"
    : "";
  return withContext(error, `Cannot lock '${path}'`, {}, hint);
}

/** The error for a lock file that is replaced faster than it can be locked. */
export function replacedTooOften(path: string): Error {
  const why = "another program keeps removing or replacing this file, " +
    "so a lock on it would be useless. Find that program and make it keep the file";
  return refusal("ESTALE", path, why);
}

function refusal(code: ErrorCode, path: string, why: string): Error {
  return own(runtime.error(code, `Cannot lock '${path}': ${why}`, path));
}

function lookup(path: string): FileInfo | undefined {
  try {
    return runtime.sync.lstat(path);
  } catch (error) {
    if (codeOf(error) === "ENOTDIR") return undefined; // A file has replaced the directory.
    throw lockFailure(error, path);
  }
}

/** Creates the lock file exclusively, so that a planted link is never followed. */
function* create(request: LockRequest): Steps<void> {
  const { dir, path } = request;
  try {
    const file = yield* opened(request, () => runtime.sync.create(path, undefined));
    inheritAccess(request, file);
    file.close(true);
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") return;
    if (code !== "ENOENT") throw error;
    // Create the directories synchronously, so that the call joins its queue before it returns.
    runSync(makeDirectories(dir, true));
  }
}

/**
 * Gives a new lock file the directory's read and write bits, group and, when running as root,
 * owner. Otherwise, a strict umask or sudo would lock out the directory's other users. This is best
 * effort: it fails on file systems without owners, and for groups that the user does not belong to.
 */
function inheritAccess({ dir, path }: LockRequest, file: OpenFile): void {
  if (runtime.windows) return;
  bestEffort(() => {
    const access = runtime.sync.stat(dir);
    if (access === undefined) return;
    const { uid, gid } = file.stat();
    const owner = uid === 0 ? access.uid : uid;
    if (owner !== uid || access.gid !== gid) bestEffort(() => file.chown(path, owner, access.gid));
    file.chmod(path, (access.mode & 0o666) | 0o600);
  });
}
