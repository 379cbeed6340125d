/**
 * Lock a directory that several programs share. The kernel releases the lock when its holder dies.
 *
 * The lock is advisory. It is a lock on the file `.aperture.lock` in the directory, taken with
 * `flock(2)` on Unix and `LockFileEx` on Windows. It excludes every program that takes the same
 * kind of lock on that file, such as other programs that use this module, `flock(1)`, Python's
 * `fcntl.flock` and Rust's fs2. There are no leases to expire and no stale locks to break.
 *
 * ```ts
 * import { DirLock } from "@aperture/atomic/lock";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const dir = await mkdtemp(`${tmpdir()}/example-`);
 * const lock = await DirLock.acquire(dir);
 * try {
 *   console.log(`no other program holds the lock on ${lock.dir} now`);
 * } finally {
 *   lock.release();
 * }
 * ```
 *
 * @module
 */

import { atCaller, atCallerSync } from "./internal/base/errors.ts";
import { type Checks, isFileName, isFunction, readOptions } from "./internal/base/options.ts";
import { absolutePath, joinPath } from "./internal/base/paths.ts";
import { run, runSync } from "./internal/base/steps.ts";
import { acquire, tryAcquire } from "./internal/lock/acquire.ts";
import { LockLostError } from "./internal/lock/errors.ts";
import { type Hold, holdOf, isHeld, release, setHold } from "./internal/lock/queue.ts";
import {
  ACQUIRE_OPTIONS,
  ACQUIRE_SYNC_OPTIONS,
  type AcquireOptions,
  type AcquireSyncOptions,
  LOCK_FILE_NAME,
  lockRequest,
  TRY_OPTIONS,
  type TryAcquireOptions,
} from "./internal/lock/request.ts";
import { runtime } from "./runtime/mod.ts";

export { DeadlockError, LockLostError, LockTimeoutError } from "./internal/lock/errors.ts";
export { LOCK_FILE_NAME };
export type { AcquireOptions, AcquireSyncOptions, TryAcquireOptions };

/**
 * A directory's lock, held until it is released.
 *
 * It is released by {@linkcode DirLock.release}, or when a `using` variable goes out of scope. The
 * kernel also releases it when the process exits for any reason. Garbage collection does not
 * release it, and child processes do not inherit it.
 *
 * The lock is not re-entrant: a program that tries to acquire a lock it already holds waits for
 * itself. The library prints a warning after 10 seconds.
 *
 * @see {@link https://man7.org/linux/man-pages/man2/flock.2.html} for how the kernel handles the
 * lock
 *
 * @example Usage
 * ```ts
 * import { DirLock } from "@aperture/atomic";
 * import assert from "node:assert";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const dir = await mkdtemp(`${tmpdir()}/example-`);
 * const lock = await DirLock.acquire(dir);
 * try {
 *   assert.equal(await DirLock.tryAcquire(dir), null);
 * } finally {
 *   lock.release();
 * }
 * ```
 */
export class DirLock implements Disposable, AsyncDisposable {
  /** The absolute path of the directory. */
  readonly dir: string;
  /** The absolute path of the lock file. */
  readonly path: string;
  /** Whether the lock is shared. */
  readonly shared: boolean;

  private constructor(hold: Hold) {
    if (hold?.queue === undefined) {
      throw new TypeError("DirLock has no public constructor: use await DirLock.acquire(dir)");
    }
    this.dir = hold.dir;
    this.path = hold.path;
    this.shared = hold.shared;
    setHold(this, hold);
  }

  /**
   * Waits until the directory's lock is free, then takes it. The directory, its parents and the
   * lock file are created if they are missing.
   *
   * Within one thread, calls are served in order, and consecutive calls for a shared lock are
   * served together. Between processes, the order is undefined. A waiting call keeps the process
   * alive; to limit the wait, pass `timeout` or `signal`.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory.
   *
   * @param dir The directory, as a path, a `file:` URL or the UTF-8 bytes of a path.
   * @param options Whether the lock is shared, and how long to wait for it.
   * @throws {TypeError} If an argument has the wrong type or an option is unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {LockTimeoutError} If the lock cannot be acquired within `timeout`.
   * @throws {DOMException} If `signal` is aborted. The error is the signal's `reason`.
   * @throws {Error} If the lock file cannot be created, opened or locked. The error has the
   * runtime's own class and `code`, such as `ENOTSUP` or `ENOLCK` if the file system does not
   * support locks.
   * @returns The lock.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * const dir = await mkdtemp(`${tmpdir()}/example-`);
   * const lock = await DirLock.acquire(dir, { timeout: 5_000 });
   * lock.release();
   * ```
   */
  static acquire(dir: string | URL | Uint8Array, options?: AcquireOptions): Promise<DirLock> {
    return atCaller(() => {
      const request = lockRequest(dir, readOptions(options, ACQUIRE_OPTIONS));
      // Don't use another async function: each waiting call would keep one more in memory.
      return run(acquire(request)).then((hold) => new DirLock(hold));
    });
  }

  /**
   * Takes the directory's lock if it is free now. The directory, its parents and the lock file are
   * created if they are missing.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory.
   *
   * @param dir The directory, as a path, a `file:` URL or the UTF-8 bytes of a path.
   * @param options Whether the lock is shared.
   * @throws {TypeError} If an argument has the wrong type or an option is unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {Error} If the lock file cannot be created, opened or locked. The error has the
   * runtime's own class and `code`, such as `ENOTSUP` or `ENOLCK` if the file system does not
   * support locks.
   * @returns The lock, or null if it is held or another call in this thread is waiting for it.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * const dir = await mkdtemp(`${tmpdir()}/example-`);
   * const lock = await DirLock.tryAcquire(dir);
   * if (lock === null) console.log("another program holds the lock");
   * lock?.release();
   * ```
   */
  static tryAcquire(
    dir: string | URL | Uint8Array,
    options?: TryAcquireOptions,
  ): Promise<DirLock | null> {
    return atCaller(async () => {
      const request = lockRequest(dir, readOptions(options, TRY_OPTIONS));
      const hold = await run(tryAcquire(request));
      return hold === undefined ? null : new DirLock(hold);
    });
  }

  /**
   * Blocks this thread until the directory's lock is free, then takes it: the synchronous form of
   * {@linkcode DirLock.acquire}.
   *
   * It is served before this thread's waiting asynchronous calls, because they cannot continue
   * while the thread is blocked.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory.
   *
   * @param dir The directory, as a path, a `file:` URL or the UTF-8 bytes of a path.
   * @param options Whether the lock is shared, and how long to wait for it.
   * @throws {TypeError} If an argument has the wrong type or an option is unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {LockTimeoutError} If the lock cannot be acquired within `timeout`.
   * @throws {DeadlockError} If this thread already holds the lock, because a blocked thread cannot
   * release it. On Deno, also thrown if another call in this thread is waiting for the lock,
   * because that call could acquire it first.
   * @throws {Error} If the lock file cannot be created, opened or locked. The error has the
   * runtime's own class and `code`, such as `ENOTSUP` or `ENOLCK` if the file system does not
   * support locks.
   * @returns The lock.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   * import { mkdtempSync } from "node:fs";
   * import { tmpdir } from "node:os";
   *
   * const dir = mkdtempSync(`${tmpdir()}/example-`);
   * const lock = DirLock.acquireSync(dir, { timeout: 5_000 });
   * lock.release();
   * ```
   */
  static acquireSync(dir: string | URL | Uint8Array, options?: AcquireSyncOptions): DirLock {
    const request = lockRequest(dir, readOptions(options, ACQUIRE_SYNC_OPTIONS));
    const hold = atCallerSync(DirLock.acquireSync, () => runSync(acquire(request)));
    return new DirLock(hold);
  }

  /**
   * Takes the directory's lock if it is free now: the synchronous form of
   * {@linkcode DirLock.tryAcquire}.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory.
   *
   * @param dir The directory, as a path, a `file:` URL or the UTF-8 bytes of a path.
   * @param options Whether the lock is shared.
   * @throws {TypeError} If an argument has the wrong type or an option is unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {Error} If the lock file cannot be created, opened or locked. The error has the
   * runtime's own class and `code`, such as `ENOTSUP` or `ENOLCK` if the file system does not
   * support locks.
   * @returns The lock, or null if it is held or another call in this thread is waiting for it.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   * import { mkdtempSync } from "node:fs";
   * import { tmpdir } from "node:os";
   *
   * const dir = mkdtempSync(`${tmpdir()}/example-`);
   * const lock = DirLock.tryAcquireSync(dir);
   * if (lock === null) console.log("another program holds the lock");
   * lock?.release();
   * ```
   */
  static tryAcquireSync(
    dir: string | URL | Uint8Array,
    options?: TryAcquireOptions,
  ): DirLock | null {
    const request = lockRequest(dir, readOptions(options, TRY_OPTIONS));
    const hold = atCallerSync(DirLock.tryAcquireSync, () => runSync(tryAcquire(request)));
    return hold === undefined ? null : new DirLock(hold);
  }

  /** Whether the lock has been released. */
  get released(): boolean {
    return holdOf(this)!.released;
  }

  /**
   * Releases the lock. The lock file is not removed. Releasing a lock again does nothing.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   * import assert from "node:assert";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * const lock = await DirLock.acquire(await mkdtemp(`${tmpdir()}/example-`));
   * lock.release();
   * assert(lock.released);
   * ```
   */
  release(): void {
    release(holdOf(this)!);
  }

  /**
   * Checks that the lock is still held and that the lock file's path still refers to the locked
   * file. Call this before the last step of a long operation.
   *
   * If the lock file or the directory was removed or replaced, other programs can lock the new
   * file. On a network file system, this check cannot detect that the server has lost contact with
   * this machine and granted its locks to others (docs/platforms/several-machines.md).
   *
   * Requires `--allow-read` permission for the directory.
   *
   * @throws {LockLostError} If the lock is no longer held.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * const lock = await DirLock.acquire(await mkdtemp(`${tmpdir()}/example-`));
   * // After a long operation:
   * lock.verify();
   * lock.release();
   * ```
   */
  verify(): void {
    const hold = holdOf(this)!;
    runtime.refreshDir(hold.dir, hold.id);
    if (!isHeld(hold)) throw new LockLostError(this.path);
  }

  /**
   * Calls {@linkcode DirLock.release} when a `using` variable goes out of scope.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * using lock = await DirLock.acquire(await mkdtemp(`${tmpdir()}/example-`));
   * ```
   */
  [Symbol.dispose](): void {
    this.release();
  }

  /**
   * Calls {@linkcode DirLock.release} when an `await using` variable goes out of scope.
   *
   * @returns A promise that is already resolved.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * await using lock = await DirLock.acquire(await mkdtemp(`${tmpdir()}/example-`));
   * ```
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.release();
    return Promise.resolve();
  }
}

/**
 * Calls a function while holding a directory's lock. The lock is released when the function returns
 * or throws or, if it returns a promise, when that promise settles.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory.
 *
 * @typeParam T The type of the function's result.
 * @param dir The directory, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param fn The function to call while the lock is held. It receives the lock.
 * @param options Whether the lock is shared, and how long to wait for it.
 * @throws {TypeError} If an argument has the wrong type or an option is unknown.
 * @throws {RangeError} If an option's value is out of range.
 * @throws {LockTimeoutError} If the lock cannot be acquired within `timeout`.
 * @throws {DOMException} If `signal` is aborted. The error is the signal's `reason`.
 * @throws {Error} If the lock file cannot be created, opened or locked. Errors thrown by `fn` are
 * passed through.
 * @returns The function's result.
 *
 * @example Usage
 * ```ts
 * import { withDirLock } from "@aperture/atomic";
 * import { mkdtemp, writeFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const dir = await mkdtemp(`${tmpdir()}/example-`);
 * await withDirLock(dir, async () => {
 *   await writeFile(`${dir}/a.txt`, "a");
 *   await writeFile(`${dir}/b.txt`, "b");
 * });
 * ```
 */
export async function withDirLock<T>(
  dir: string | URL | Uint8Array,
  fn: (lock: DirLock) => T | Promise<T>,
  options?: AcquireOptions,
): Promise<T> {
  isFunction(fn, "fn");
  const lock = await DirLock.acquire(dir, options);
  // Don't use `using`: Node before 20.4 and Jest 29 do not support it.
  try {
    return await fn(lock);
  } finally {
    lock.release();
  }
}

/** Options for {@linkcode lockHolders}. */
export interface LockHoldersOptions {
  /**
   * The name of the lock file, a single path component.
   *
   * @default {".aperture.lock"}
   */
  lockFileName?: string;
}

/**
 * Returns the ids of the processes that hold a directory's lock. Use them only in messages, not for
 * decisions: they may be out of date by the time you read them.
 *
 * Holders are known only on Linux, which lists them in `/proc/locks`, and only if they are in the
 * caller's PID namespace. On network file systems, holders on other machines are not visible.
 *
 * Requires `--allow-read` permission for the directory. On Deno, the result is null unless all
 * permissions are granted, because reading `/proc` requires them. The call never prompts for
 * permissions.
 *
 * @param dir The directory, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options The name of the lock file.
 * @throws {TypeError} If an argument has the wrong type or an option is unknown.
 * @throws {RangeError} If an option's value is out of range.
 * @returns The process ids, an empty array if the lock is free, or null if the holders are unknown.
 * @see {@link https://man7.org/linux/man-pages/man5/proc_locks.5.html} for what Linux reports
 *
 * @example Usage
 * ```ts
 * import { DirLock, lockHolders } from "@aperture/atomic";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const dir = await mkdtemp(`${tmpdir()}/example-`);
 * const lock = await DirLock.acquire(dir);
 * console.log(await lockHolders(dir)); // [process.pid] on Linux, with all permissions
 * lock.release();
 * ```
 */
export function lockHolders(
  dir: string | URL | Uint8Array,
  options?: LockHoldersOptions,
): Promise<number[] | null> {
  return atCaller(() => {
    const { lockFileName = LOCK_FILE_NAME } = readOptions(options, HOLDERS_OPTIONS);
    return runtime.lockHolders(joinPath(absolutePath(dir), lockFileName));
  });
}

const HOLDERS_OPTIONS: Checks<LockHoldersOptions> = { lockFileName: isFileName };
