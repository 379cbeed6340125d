/**
 * Change a file that several processes change, and lose no change.
 *
 * {@linkcode atomicUpdate} reads the file, hands the content to a function and writes
 * what that returns, all under the directory's lock.
 *
 * ```ts
 * import { atomicUpdate } from "@aperture/atomic/update";
 *
 * const path = `${await Deno.makeTempDir()}/counter`;
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
import { onAbort, throwIfAborted } from "./internal/base/abort.ts";
import { holdOf } from "./internal/lock/queue.ts";
import { ACQUIRE_OPTIONS, ACQUIRE_SYNC_OPTIONS, lockRequest } from "./internal/lock/request.ts";
import { type Check, type Checks, isFunction, readOptions } from "./internal/base/options.ts";
import { WRITE_OPTIONS, WRITE_SYNC_OPTIONS, writeRequest } from "./internal/write/request.ts";
import { update, updateSync } from "./internal/update/mod.ts";
import type { AcquireOptions, AcquireSyncOptions, DirLock } from "./lock.ts";

/** Options for {@linkcode atomicUpdate}. */
export interface AtomicUpdateOptions extends AtomicWriteOptions {
  /**
   * An exclusive lock of the file's directory that is held already, and stays held, or how to
   * acquire it.
   */
  lock?: DirLock | Omit<AcquireOptions, "shared">;
}

/** Options for {@linkcode atomicUpdateSync}. */
export interface AtomicUpdateSyncOptions extends AtomicWriteSyncOptions {
  /**
   * An exclusive lock of the file's directory that is held already, and stays held, or how to
   * acquire it.
   */
  lock?: DirLock | Omit<AcquireSyncOptions, "shared">;
}

/**
 * Changes a file under its directory's lock: reads it, calls a function with the content
 * and atomically writes what that returns.
 *
 * All programs that change the file this way, or under the same lock, wait for one
 * another, so that no change is lost. Readers need no lock. If the function throws, the
 * file is as it was.
 *
 * When the path is a symbolic link that is followed, the directory is the one of the file
 * that it points to. The directory is created if it is missing.
 *
 * The lock is not re-entrant: a function that needs the lock of the same directory, to update
 * another file, must hand on the one that is held, as the option `lock`. Updates of one file that
 * are handed one lock are carried out one after another: so a function must not wait for another
 * update of its own file. If the lock is released or lost meanwhile, nothing is written.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file; for a
 * symbolic link those for the directory of the file that it points to, and `--allow-read` for it.
 *
 * @param path The file, as a path or a `file:` URL.
 * @param fn What to do with the content: it gets the bytes, or null if there is no file,
 * and returns the new content, or null to leave the file as it is.
 * @param options Those of {@linkcode atomicWrite}, and the lock. `signal` gives up the wait
 * for the lock too, and for `fn`; a lock that the call has acquired stays held until that has ended.
 * @throws {TypeError} If an argument is of the wrong type, an option unknown, or what `fn`
 * returns no data.
 * @throws {RangeError} If an option's value is out of range, or the lock is released, shared or
 * that of another directory, or its file is the one that is to be changed.
 * @throws {LockTimeoutError} If the lock is not free within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new content was in place.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class,
 * with its `code`.
 * @throws {DOMException} The reason of `signal` when it is aborted.
 * @throws {Error} If the file cannot be read or locked, and what `fn` throws.
 * @returns A promise that is resolved when the new content is in place.
 *
 * @example Usage
 * ```ts
 * import { atomicUpdate } from "@aperture/atomic";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/counter`;
 * const increment = (bytes: Uint8Array | null) =>
 *   String(bytes === null ? 1 : Number(new TextDecoder().decode(bytes)) + 1);
 * await Promise.all([atomicUpdate(path, increment), atomicUpdate(path, increment)]);
 * assertEquals(await Deno.readTextFile(path), "2");
 * ```
 */
export async function atomicUpdate(
  path: string | URL,
  fn: (current: Uint8Array | null) => AtomicData | null | Promise<AtomicData | null>,
  options?: AtomicUpdateOptions,
): Promise<void> {
  isFunction(fn, "fn");
  const { lock, ...write } = readOptions(options, UPDATE_OPTIONS);
  const request = writeRequest(path, write);
  throwIfAborted(request.signal);
  const held = holdOf(lock);
  if (held !== undefined) return await update(request, fn, held);
  const acquisition = readOptions(lock as AcquireOptions | undefined, ACQUIRE_OPTIONS);
  const { signal, stopListening } = eitherSignal(request.signal, acquisition.signal);
  try {
    await update(
      request,
      fn,
      (dir) => lockRequest(dir, { ...acquisition, ...signal && { signal } }),
    );
  } finally {
    stopListening();
  }
}

/**
 * Changes a file under its directory's lock: the synchronous form of {@linkcode atomicUpdate}.
 *
 * It carries out the writes of the path that were called before, and blocks the thread until the
 * lock is free. If one of those is of a Blob, which cannot be read synchronously, it fails with
 * `EBUSY`. It cannot carry out an {@linkcode atomicUpdate}: one that waits for its lock comes later,
 * one that holds it makes this call fail. The function must return its data, not a promise.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file; for a
 * symbolic link those for the directory of the file that it points to, and `--allow-read` for it.
 *
 * @param path The file, as a path or a `file:` URL.
 * @param fn What to do with the content: it gets the bytes, or null if there is no file,
 * and returns the new content, or null to leave the file as it is.
 * @param options Those of {@linkcode atomicWriteSync}, and the lock.
 * @throws {TypeError} If an argument is of the wrong type, an option unknown, or what `fn`
 * returns no data.
 * @throws {RangeError} If an option's value is out of range, or the lock is released, shared or
 * that of another directory, or its file is the one that is to be changed.
 * @throws {LockTimeoutError} If the lock is not free within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new content was in place.
 * @throws {DeadlockError} If this thread holds the lock itself, or on Deno waits for it already.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class,
 * with its `code`.
 * @throws {Error} If the file cannot be read or locked, and what `fn` throws.
 *
 * @example Usage
 * ```ts
 * import { atomicUpdateSync } from "@aperture/atomic";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${Deno.makeTempDirSync()}/log`;
 * const decoder = new TextDecoder();
 * for (const line of ["one\n", "two\n"]) {
 *   atomicUpdateSync(path, (bytes) => (bytes === null ? "" : decoder.decode(bytes)) + line);
 * }
 * assertEquals(Deno.readTextFileSync(path), "one\ntwo\n");
 * ```
 */
export function atomicUpdateSync(
  path: string | URL,
  fn: (current: Uint8Array | null) => AtomicDataSync | null,
  options?: AtomicUpdateSyncOptions,
): void {
  isFunction(fn, "fn");
  const { lock, ...write } = readOptions(options, UPDATE_SYNC_OPTIONS);
  const acquisition = lock as AcquireSyncOptions | undefined;
  updateSync(
    writeRequest(path, write),
    fn,
    holdOf(lock) ?? ((dir) => lockRequest(dir, readOptions(acquisition, ACQUIRE_SYNC_OPTIONS))),
  );
}

const UPDATE_OPTIONS: Checks<AtomicUpdateOptions> = {
  ...WRITE_OPTIONS,
  lock: isLock(ACQUIRE_OPTIONS),
};

const UPDATE_SYNC_OPTIONS: Checks<AtomicUpdateSyncOptions> = {
  ...WRITE_SYNC_OPTIONS,
  lock: isLock(ACQUIRE_SYNC_OPTIONS),
};

/** Checks for an exclusive lock that is held, or options for acquiring one. */
function isLock<T extends object>(checks: Checks<T>): Check {
  return (value, name) => {
    const hold = holdOf(value);
    if (hold?.released) throw new RangeError(`'${name}' must be held: it is released`);
    if (hold === undefined) readOptions(value as T, checks);
    if ((value as { shared?: boolean }).shared) {
      throw new RangeError(`'${name}' must be exclusive: a shared lock lets others update too`);
    }
  };
}

/** A signal that is aborted when one of two is; `AbortSignal.any` came with Node 20.3. */
function eitherSignal(
  first: AbortSignal | undefined,
  second: AbortSignal | undefined,
): { signal: AbortSignal | undefined; stopListening: () => void } {
  if (first === undefined || second === undefined) {
    return { signal: first ?? second, stopListening: () => {} };
  }
  const either = new AbortController();
  const stops = [first, second].map((signal) => {
    if (signal.aborted) either.abort(signal.reason);
    return onAbort(signal, () => either.abort(signal.reason));
  });
  return { signal: either.signal, stopListening: () => stops.forEach((stop) => stop()) };
}
