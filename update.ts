/**
 * Update a file that several programs modify, without losing any of their changes.
 *
 * {@linkcode atomicUpdate} reads a file, passes the content to a function and atomically writes
 * what the function returns, all while holding the lock on the file's directory.
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

import type { AtomicData, AtomicDataSync, AtomicWriteSyncOptions } from "./atomic.ts";
import { atCaller, atCallerSync } from "./internal/base/errors.ts";
import { readOptions } from "./internal/base/options.ts";
import { update, updateSync } from "./internal/update/mod.ts";
import { UPDATE_OPTIONS, UPDATE_SYNC_OPTIONS } from "./internal/update/request.ts";
import type { AcquireSyncOptions, DirLock } from "./lock.ts";

/** Options for {@linkcode atomicUpdateSync}. */
export interface AtomicUpdateSyncOptions extends AtomicWriteSyncOptions {
  /**
   * An exclusive lock that you already hold on the file's directory, or options for acquiring one.
   * The call does not release a lock that you pass.
   */
  lock?: DirLock | Omit<AcquireSyncOptions, "shared">;
}

/** Options for {@linkcode atomicUpdate}. */
export interface AtomicUpdateOptions extends AtomicUpdateSyncOptions {
  /**
   * Aborting the signal cancels the update at any point before the rename, including while it is
   * waiting for the lock or for `fn`. A lock that the call acquired stays held until `fn` has
   * finished.
   */
  signal?: AbortSignal;
}

/**
 * Updates a file with a function, `fn`: reads the file, calls `fn` with the content and atomically
 * writes what it returns, all while holding the lock on the file's directory. `fn` may run more
 * than once.
 *
 * Programs that update the file this way, or while holding the same lock, take turns, so no update
 * is lost. Readers do not need a lock. If `fn` throws, the file is unchanged.
 *
 * Changes by writers that do not take the lock, such as editors, are detected: if the file changed
 * after it was read, the call rereads it and calls `fn` again. If this happens ten times, the call
 * fails with `ESTALE` and leaves the other writer's file in place. If `fn` returned a stream, an
 * iterable or a Blob, the call fails after the first such change, because that data may not be
 * readable twice. Therefore, read a request body or standard input before the call, and do not
 * write to the file inside `fn`. A change made in the last 0.2 ms or so before the rename can still
 * be lost.
 *
 * If the path is a symbolic link that is followed, the call locks the directory that contains the
 * link's target. The directory to be locked is created if it is missing.
 *
 * The lock is not re-entrant. To update another file in the same directory from within `fn`,
 * acquire the lock first and pass it to both calls as the `lock` option. If several updates of one
 * file are passed the same lock, they run one after another, so `fn` must not wait for another
 * update of that file. If the lock is released or lost before the new content is in place, nothing
 * is written.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the file's directory. If the path is
 * a symbolic link, both permissions are required for the target's directory, plus `--allow-read`
 * for the link itself.
 *
 * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param fn Receives the file's bytes, or null if the file does not exist, and returns the new
 * content, or null to leave the file unchanged.
 * @param options The options of {@linkcode atomicWrite}, plus `lock`. Aborting `signal` also ends
 * the wait for the lock or for `fn`, but a lock acquired by the call stays held until `fn` has
 * finished.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or `fn` does not
 * return data.
 * @throws {RangeError} If an option's value is out of range, if the lock was released, is shared or
 * belongs to another directory, or if its lock file is the file to be updated.
 * @throws {LockTimeoutError} If the lock could not be acquired within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new content was in place.
 * @throws {AtomicWriteError} If the file cannot be written. The error has the runtime's own class
 * and `code`. If other programs kept changing the file, the `code` is `ESTALE` and `tries` is the
 * number of times `fn` was called.
 * @throws {DOMException} If `signal` is aborted. The error is the signal's `reason`.
 * @throws {Error} If the file cannot be read or locked. Errors thrown by `fn` are passed through.
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
 * Updates a file with a function, `fn`, which may run more than once: the synchronous form of
 * {@linkcode atomicUpdate}.
 *
 * It first completes earlier writes to the path, then blocks the thread until the lock is free. If
 * one of those writes has a Blob as its data, the call fails with `EBUSY`, because Blobs cannot be
 * read synchronously. It cannot complete earlier {@linkcode atomicUpdate} calls: those that are
 * waiting for the lock run later, and if one of them holds the lock, this call fails. `fn` must not
 * return a promise.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the file's directory. If the path is
 * a symbolic link, both permissions are required for the target's directory, plus `--allow-read`
 * for the link itself.
 *
 * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param fn Receives the file's bytes, or null if the file does not exist, and returns the new
 * content, or null to leave the file unchanged.
 * @param options The options of {@linkcode atomicWriteSync}, plus `lock`.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or `fn` does not
 * return data.
 * @throws {RangeError} If an option's value is out of range, if the lock was released, is shared or
 * belongs to another directory, or if its lock file is the file to be updated.
 * @throws {LockTimeoutError} If the lock could not be acquired within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new content was in place.
 * @throws {DeadlockError} If this thread already holds the lock or, on Deno, if another call in
 * this thread is waiting for it.
 * @throws {AtomicWriteError} If the file cannot be written. The error has the runtime's own class
 * and `code`. If other programs kept changing the file, the `code` is `ESTALE` and `tries` is the
 * number of times `fn` was called.
 * @throws {Error} If the file cannot be read or locked. Errors thrown by `fn` are passed through.
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
  const checked = readOptions(options, UPDATE_SYNC_OPTIONS);
  atCallerSync(atomicUpdateSync, () => updateSync(path, fn, checked));
}
