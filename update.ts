/**
 * Change a file that several programs change, without losing an update.
 *
 * {@linkcode atomicUpdate} reads a file, passes the content to a function and atomically writes
 * what the function returns, all under the lock of the file's directory.
 *
 * ```ts
 * import { atomicUpdate } from "@aperture/atomic/update";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/counter`;
 * await atomicUpdate(path, (bytes) => {
 *   const count = bytes === null ? 0 : Number(new TextDecoder().decode(bytes));
 *   return String(count + 1);
 * });
 * ```
 *
 * @module
 */

import type {
  AtomicData,
  AtomicDataSync,
  AtomicWriteOptions,
  AtomicWriteSyncOptions,
} from "./atomic.ts";
import { atCaller, atCallerSync } from "./internal/base/errors.ts";
import { readOptions } from "./internal/base/options.ts";
import { update, updateSync } from "./internal/update/mod.ts";
import { UPDATE_OPTIONS, UPDATE_SYNC_OPTIONS } from "./internal/update/request.ts";
import type { AcquireOptions, AcquireSyncOptions, DirLock } from "./lock.ts";

/** Options for {@linkcode atomicUpdate}. */
export interface AtomicUpdateOptions extends AtomicWriteOptions {
  /**
   * An exclusive lock of the file's directory, which stays held, or options for acquiring one.
   */
  lock?: DirLock | Omit<AcquireOptions, "shared">;
}

/** Options for {@linkcode atomicUpdateSync}. */
export interface AtomicUpdateSyncOptions extends AtomicWriteSyncOptions {
  /**
   * An exclusive lock of the file's directory, which stays held, or options for acquiring one.
   */
  lock?: DirLock | Omit<AcquireSyncOptions, "shared">;
}

/**
 * Changes a file by a function, `fn`, which may run more than once: reads the file, calls `fn` with
 * the content and atomically writes what it returns, under the lock of the file's directory.
 *
 * Programs that change the file this way, or under the same lock, take turns, so no update is lost.
 * Readers need no lock. If `fn` throws, the file stays as it is.
 *
 * A writer that does not take the lock, such as an editor, is noticed: if the file changed after it
 * was read, it is read again and `fn` is called again. If that has happened ten times, or if `fn`
 * returned a stream, an iterable or a Blob, which may not be readable twice, the call fails with
 * `ESTALE` and leaves the other writer's file in place. So read a request body or standard input
 * before the call, and do not write to the file itself in `fn`. A change in the last 0.2 ms or so
 * before the rename can still be lost.
 *
 * If the path is a symbolic link that is followed, the lock is that of the directory that contains
 * the link's target. The directory is created if it is missing.
 *
 * The lock is not re-entrant. To update another file of the same directory in `fn`, acquire the lock
 * first and pass it to both calls as the option `lock`. Updates of one file under the same held lock
 * run one after another, so `fn` must not wait for another update of its own file. If the lock is
 * released or lost in the meantime, nothing is written.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file. If the path
 * is a symbolic link, they are required for the directory of the file that it points to, and
 * `--allow-read` for the link.
 *
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param fn Receives the bytes of the file, or null if there is none, and returns the new content,
 * or null to leave the file as it is.
 * @param options The options of {@linkcode atomicWrite}, and `lock`. Aborting `signal` also ends the
 * wait for the lock or for `fn`; a lock acquired by the call stays held until `fn` has ended.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or `fn` does not
 * return data.
 * @throws {RangeError} If an option's value is out of range, or the lock is released, shared or
 * that of another directory, or its lock file is the file to be changed.
 * @throws {LockTimeoutError} If the lock was not free within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new content was in place.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class, with
 * its `code`. `ESTALE` if others kept changing the file; `tries` is how often `fn` was called.
 * @throws {DOMException} The reason of `signal` when it is aborted.
 * @throws {Error} If the file cannot be read or locked, and whatever `fn` throws.
 * @returns A promise that resolves when the new content is in place.
 *
 * @example Usage
 * ```ts
 * import { atomicUpdate } from "@aperture/atomic";
 * import { equal } from "node:assert/strict";
 * import { mkdtemp, readFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/counter`;
 * const increment = (bytes: Uint8Array | null) =>
 *   String(bytes === null ? 1 : Number(new TextDecoder().decode(bytes)) + 1);
 * await Promise.all([atomicUpdate(path, increment), atomicUpdate(path, increment)]);
 * equal(await readFile(path, "utf8"), "2");
 * ```
 */
export function atomicUpdate(
  path: string | URL | Uint8Array,
  fn: (current: Uint8Array | null) => AtomicData | null | Promise<AtomicData | null>,
  options?: AtomicUpdateOptions,
): Promise<void> {
  return atCaller(() => update(path, fn, readOptions(options, UPDATE_OPTIONS)));
}

/**
 * Changes a file by a function, `fn`, which may run more than once: the synchronous form of
 * {@linkcode atomicUpdate}.
 *
 * It first completes the earlier writes to the path, and blocks the thread until the lock is free.
 * If one of those writes is of a Blob, which cannot be read synchronously, the call fails with
 * `EBUSY`. It cannot complete an earlier {@linkcode atomicUpdate}: one that waits for its lock runs
 * later, and one that holds the lock makes this call fail. `fn` must not return a promise.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file. If the path
 * is a symbolic link, they are required for the directory of the file that it points to, and
 * `--allow-read` for the link.
 *
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param fn Receives the bytes of the file, or null if there is none, and returns the new content,
 * or null to leave the file as it is.
 * @param options The options of {@linkcode atomicWriteSync}, and `lock`.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or `fn` does not
 * return data.
 * @throws {RangeError} If an option's value is out of range, or the lock is released, shared or
 * that of another directory, or its lock file is the file to be changed.
 * @throws {LockTimeoutError} If the lock was not free within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new content was in place.
 * @throws {DeadlockError} If this thread holds the lock itself, or on Deno already waits for it.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class, with
 * its `code`. `ESTALE` if others kept changing the file; `tries` is how often `fn` was called.
 * @throws {Error} If the file cannot be read or locked, and whatever `fn` throws.
 *
 * @example Usage
 * ```ts
 * import { atomicUpdateSync } from "@aperture/atomic";
 * import { equal } from "node:assert/strict";
 * import { mkdtempSync, readFileSync } from "node:fs";
 * import { tmpdir } from "node:os";
 *
 * const path = `${mkdtempSync(`${tmpdir()}/example-`)}/log`;
 * const decoder = new TextDecoder();
 * for (const line of ["one\n", "two\n"]) {
 *   atomicUpdateSync(path, (bytes) => (bytes === null ? "" : decoder.decode(bytes)) + line);
 * }
 * equal(readFileSync(path, "utf8"), "one\ntwo\n");
 * ```
 */
export function atomicUpdateSync(
  path: string | URL | Uint8Array,
  fn: (current: Uint8Array | null) => AtomicDataSync | null,
  options?: AtomicUpdateSyncOptions,
): void {
  atCallerSync(
    atomicUpdateSync,
    () => updateSync(path, fn, readOptions(options, UPDATE_SYNC_OPTIONS)),
  );
}
