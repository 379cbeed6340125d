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

import { dirname } from "@std/path/dirname";
import { codeOf, explain } from "./_errors.ts";
import { ACQUIRE_CHECKS, type Check, isFunction, readOptions, WRITE_CHECKS } from "./_options.ts";
import { absolutePath } from "./_paths.ts";
import { findTarget } from "./_target.ts";
import { type AtomicData, atomicWrite, type AtomicWriteOptions } from "./atomic.ts";
import { type AcquireOptions, DirLock } from "./lock.ts";
import { call, run, type Steps } from "./runtime/steps.ts";

/** Options for {@linkcode atomicUpdate}. */
export interface AtomicUpdateOptions extends AtomicWriteOptions {
  /**
   * An exclusive lock that is held already, and stays held, or how to acquire the one of
   * the file's directory: {@linkcode AcquireOptions} but `shared`.
   */
  lock?: DirLock | AcquireOptions;
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
 * The lock is not re-entrant: a function that needs the lock of the same directory for
 * another update must hand on the one that is held, as the option `lock`.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory.
 *
 * @param path The file, as a path or a `file:` URL.
 * @param fn What to do with the content: it gets the bytes, or null if there is no file,
 * and returns the new content, or null to leave the file as it is.
 * @param options Those of {@linkcode atomicWrite}, and the lock. `signal` gives up the wait
 * for the lock too.
 * @throws {TypeError} If an argument is of the wrong type, an option unknown, or what `fn`
 * returns no data.
 * @throws {RangeError} If an option's value is out of range, or the lock is released or shared.
 * @throws {LockTimeoutError} If the lock is not free within its `timeout`.
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
  const { lock, ...write } = readOptions(options, { ...WRITE_CHECKS, lock: isLock });
  const absolute = absolutePath(path);
  const { signal, symlinks = "follow" } = write;
  signal?.throwIfAborted();

  const { path: target } = await run(find(absolute, symlinks));
  using _acquired = lock instanceof DirLock
    ? undefined
    : await DirLock.acquire(dirname(target), { ...signal && { signal }, ...lock });
  const data = await fn(await run(read(target)));
  if (data !== null) await atomicWrite(target, data, write);
}

const isLock: Check = (value, name) => {
  if (value instanceof DirLock) {
    if (value.released) throw new RangeError(`'${name}' must be held: it is released`);
  } else {
    readOptions(value as AcquireOptions, ACQUIRE_CHECKS);
  }
  if ((value as { shared?: boolean }).shared) {
    throw new RangeError(`'${name}' must be exclusive: a shared lock lets others update too`);
  }
};

function* find(path: string, symlinks: "follow" | "replace"): Steps<{ path: string }> {
  try {
    return yield* findTarget(path, symlinks);
  } catch (error) {
    throw explain(error, `Cannot update '${path}'`, {});
  }
}

function* read(path: string): Steps<Uint8Array | null> {
  try {
    return yield* call((fs) => fs.readFile(path));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw explain(error, `Cannot update '${path}'`, {});
  }
}
