/**
 * Lock a directory among all programs that share it, with a lock that the kernel
 * frees when its holder dies.
 *
 * The lock is an advisory one, `flock(2)` on Unix and `LockFileEx` on Windows, on the
 * file `.aperture.lock` in the directory. It keeps out everyone who takes the same
 * kind of lock on that file: other programs with this module, `flock(1)`, Python's
 * `fcntl.flock`, Rust's fs2. There is no lease that could run out and no
 * stale lock to break.
 *
 * ```ts
 * import { DirLock } from "@aperture/atomic/lock";
 *
 * const dir = await Deno.makeTempDir();
 * {
 *   using lock = await DirLock.acquire(dir);
 *   console.log(`nobody else is in ${lock.dir} now`);
 * }
 * ```
 *
 * @module
 */

import { holdersOf } from "./internal/lock/file.ts";
import { LockLostError } from "./internal/lock/errors.ts";
import { type Hold, holdOf, isHeld, release, setHold } from "./internal/lock/queue.ts";
import {
  ACQUIRE_OPTIONS,
  ACQUIRE_SYNC_OPTIONS,
  LOCK_FILE_NAME,
  lockRequest,
  TRY_OPTIONS,
} from "./internal/lock/request.ts";
import { acquire, acquireSync, tryAcquire, tryAcquireOnce } from "./internal/lock/acquire.ts";
import { type Checks, isFileName, isFunction, readOptions } from "./internal/base/options.ts";
import { absolutePath, joinPath } from "./internal/base/paths.ts";
import { call, runSync } from "./internal/base/steps.ts";

export { DeadlockError, LockLostError, LockTimeoutError } from "./internal/lock/errors.ts";
export { LOCK_FILE_NAME };

/** Options for {@linkcode DirLock.tryAcquire} and {@linkcode DirLock.tryAcquireSync}. */
export interface TryAcquireOptions {
  /**
   * Take the lock shared, as readers do: any number of shared holders, but no
   * exclusive one beside them.
   *
   * @default {false}
   */
  shared?: boolean;
  /**
   * The name of the lock file, one path component. All who are to keep each other
   * out must use the same.
   *
   * @default {".aperture.lock"}
   */
  lockFileName?: string;
}

/** Options for {@linkcode DirLock.acquireSync}. */
export interface AcquireSyncOptions extends TryAcquireOptions {
  /**
   * How long to wait for the lock at most, in milliseconds. 0 tries once, Infinity waits for
   * ever.
   *
   * @default {Infinity}
   */
  timeout?: number;
  /** Called once if the lock is not free at once, so that a program can say that it waits. */
  onWait?: () => void;
}

/** Options for {@linkcode DirLock.acquire} and {@linkcode withDirLock}. */
export interface AcquireOptions extends AcquireSyncOptions {
  /** Gives up the wait. */
  signal?: AbortSignal;
}

/**
 * The lock on a directory, held until it is released.
 *
 * It is freed by {@linkcode DirLock.release}, at the end of a `using` variable's scope,
 * and by the kernel when the process ends, however it ends. It is not freed when a
 * variable that holds it is garbage-collected, and child processes do not inherit it.
 *
 * The lock is not re-entrant: who holds it and acquires it again waits for itself.
 *
 * @see {@link https://man7.org/linux/man-pages/man2/flock.2.html} for what the kernel does
 *
 * @example Usage
 * ```ts
 * import { DirLock } from "@aperture/atomic";
 * import { assert } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const lock = await DirLock.acquire(dir);
 * try {
 *   assert(await DirLock.tryAcquire(dir) === null);
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
  /** Whether the lock is a shared one. */
  readonly shared: boolean;

  private constructor(hold: Hold) {
    this.dir = hold.dir;
    this.path = hold.path;
    this.shared = hold.shared;
    setHold(this, hold);
  }

  /**
   * Waits until the directory's lock is free and takes it.
   *
   * The directory and the lock file are created when they are missing. Callers of one
   * thread are served in the order in which they came, shared ones together; among
   * processes the kernel decides.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory.
   *
   * @param dir The directory, as a path or a `file:` URL.
   * @param options Shared or exclusive, and how long to wait.
   * @throws {TypeError} If an argument is of the wrong type, or an option unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {LockTimeoutError} If the lock is not free within `timeout`.
   * @throws {DOMException} The reason of `signal` when it is aborted.
   * @throws {Error} If the lock file cannot be created, opened or locked: the runtime's own
   * error class, with its `code`. `ENOTSUP`, `ENOLCK` or the like if the file system has no locks.
   * @returns The lock.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   *
   * const dir = await Deno.makeTempDir();
   * using lock = await DirLock.acquire(dir, { timeout: 5_000 });
   * ```
   */
  static async acquire(dir: string | URL, options?: AcquireOptions): Promise<DirLock> {
    return new DirLock(await acquire(lockRequest(dir, readOptions(options, ACQUIRE_OPTIONS))));
  }

  /**
   * Takes the directory's lock if it is free now.
   *
   * The directory and the lock file are created when they are missing.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory.
   *
   * @param dir The directory, as a path or a `file:` URL.
   * @param options Shared or exclusive.
   * @throws {TypeError} If an argument is of the wrong type, or an option unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {Error} If the lock file cannot be created, opened or locked: the runtime's own
   * error class, with its `code`. `ENOTSUP`, `ENOLCK` or the like if the file system has no locks.
   * @returns The lock, or null if it is held by another or waited for in this process.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   *
   * const dir = await Deno.makeTempDir();
   * using lock = await DirLock.tryAcquire(dir);
   * if (lock === null) console.log("somebody else is at work");
   * ```
   */
  static async tryAcquire(
    dir: string | URL,
    options?: TryAcquireOptions,
  ): Promise<DirLock | null> {
    const hold = await tryAcquireOnce(lockRequest(dir, readOptions(options, TRY_OPTIONS)));
    return hold === undefined ? null : new DirLock(hold);
  }

  /**
   * Blocks this thread until the directory's lock is free and takes it: the
   * synchronous form of {@linkcode DirLock.acquire}.
   *
   * It does not queue behind asynchronous callers of this thread, which cannot go on
   * while it blocks.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory.
   *
   * @param dir The directory, as a path or a `file:` URL.
   * @param options Shared or exclusive, and how long to wait.
   * @throws {TypeError} If an argument is of the wrong type, or an option unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {LockTimeoutError} If the lock is not free within `timeout`.
   * @throws {DeadlockError} If this thread holds the lock itself, so that it could never be free,
   * or on Deno waits for it already, so that it may be the next to have it.
   * @throws {Error} If the lock file cannot be created, opened or locked: the runtime's own
   * error class, with its `code`. `ENOTSUP`, `ENOLCK` or the like if the file system has no locks.
   * @returns The lock.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   *
   * const dir = Deno.makeTempDirSync();
   * using lock = DirLock.acquireSync(dir, { timeout: 5_000 });
   * ```
   */
  static acquireSync(dir: string | URL, options?: AcquireSyncOptions): DirLock {
    return new DirLock(acquireSync(lockRequest(dir, readOptions(options, ACQUIRE_SYNC_OPTIONS))));
  }

  /**
   * Takes the directory's lock if it is free now: the synchronous form of
   * {@linkcode DirLock.tryAcquire}.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory.
   *
   * @param dir The directory, as a path or a `file:` URL.
   * @param options Shared or exclusive.
   * @throws {TypeError} If an argument is of the wrong type, or an option unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {Error} If the lock file cannot be created, opened or locked: the runtime's own
   * error class, with its `code`. `ENOTSUP`, `ENOLCK` or the like if the file system has no locks.
   * @returns The lock, or null if it is held by another or waited for in this process.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   *
   * const dir = Deno.makeTempDirSync();
   * using lock = DirLock.tryAcquireSync(dir);
   * if (lock === null) console.log("somebody else is at work");
   * ```
   */
  static tryAcquireSync(dir: string | URL, options?: TryAcquireOptions): DirLock | null {
    const request = lockRequest(dir, readOptions(options, TRY_OPTIONS));
    const hold = runSync(call(() => tryAcquire(request, false)));
    return hold === undefined ? null : new DirLock(hold);
  }

  /** Whether the lock has been released. */
  get released(): boolean {
    return holdOf(this)!.released;
  }

  /**
   * Frees the lock. Calling it again does nothing. The lock file stays.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   * import { assert } from "@std/assert";
   *
   * const lock = await DirLock.acquire(await Deno.makeTempDir());
   * lock.release();
   * assert(lock.released);
   * ```
   */
  release(): void {
    release(holdOf(this)!);
  }

  /**
   * Sees that the lock is held still, and that its path leads to the locked file: somebody may
   * have removed that or the directory, and then others can lock a new one beside this lock.
   * For long work, before its last step. On a cluster it does not notice that a machine was cut
   * off and its locks given to others (docs/platforms/several-machines.md).
   *
   * Requires `--allow-read` permission for the directory.
   *
   * @throws {LockLostError} If it is held no longer.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   *
   * using lock = await DirLock.acquire(await Deno.makeTempDir());
   * // A long time later:
   * lock.verify();
   * ```
   */
  verify(): void {
    if (!isHeld(holdOf(this)!)) throw new LockLostError(this.path);
  }

  /**
   * {@linkcode DirLock.release}, for `using`.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   *
   * using lock = await DirLock.acquire(await Deno.makeTempDir());
   * ```
   */
  [Symbol.dispose](): void {
    this.release();
  }

  /**
   * {@linkcode DirLock.release}, for `await using`.
   *
   * @returns A promise that is resolved.
   *
   * @example Usage
   * ```ts
   * import { DirLock } from "@aperture/atomic";
   *
   * await using lock = await DirLock.acquire(await Deno.makeTempDir());
   * ```
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.release();
    return Promise.resolve();
  }
}

/**
 * Calls a function while holding a directory's lock.
 *
 * The lock is released when the function has returned, its promise included, or thrown.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory.
 *
 * @typeParam T What the function returns.
 * @param dir The directory, as a path or a `file:` URL.
 * @param fn What to do while the lock is held.
 * @param options Shared or exclusive, and how long to wait.
 * @throws {TypeError} If an argument is of the wrong type, or an option unknown.
 * @throws {RangeError} If an option's value is out of range.
 * @throws {LockTimeoutError} If the lock is not free within `timeout`.
 * @throws {DOMException} The reason of `signal` when it is aborted.
 * @throws {Error} If the lock file cannot be created, opened or locked, and what `fn` throws.
 * @returns What the function returns.
 *
 * @example Usage
 * ```ts
 * import { withDirLock } from "@aperture/atomic";
 *
 * const dir = await Deno.makeTempDir();
 * await withDirLock(dir, async () => {
 *   await Deno.writeTextFile(`${dir}/a.txt`, "a");
 *   await Deno.writeTextFile(`${dir}/b.txt`, "b");
 * });
 * ```
 */
export async function withDirLock<T>(
  dir: string | URL,
  fn: (lock: DirLock) => T | Promise<T>,
  options?: AcquireOptions,
): Promise<T> {
  isFunction(fn, "fn");
  const lock = await DirLock.acquire(dir, options);
  // No `using`, which Node before 20.4 and Jest 29 cannot run.
  try {
    return await fn(lock);
  } finally {
    lock.release();
  }
}

/** Options for {@linkcode lockHolders}. */
export interface LockHoldersOptions {
  /**
   * The name of the lock file, one path component.
   *
   * @default {".aperture.lock"}
   */
  lockFileName?: string;
}

/**
 * Tells which processes hold a directory's lock: for messages to people. By the time that it is
 * read it may be wrong, and so nothing should be decided by it.
 *
 * Linux tells, in `/proc/locks`, of the processes of one's own pid namespace. Where a child has
 * inherited the lock of a process that has ended, it is the child.
 *
 * Requires `--allow-read` permission for the directory, and all permissions for an answer: Deno
 * lets no other program read in `/proc`. It never prompts.
 *
 * @param dir The directory, as a path or a `file:` URL.
 * @param options Which lock file.
 * @throws {TypeError} If an argument is of the wrong type, or an option unknown.
 * @throws {RangeError} If an option's value is out of range.
 * @returns The process ids, none if the lock is free; null where the system does not tell.
 * @see {@link https://man7.org/linux/man-pages/man5/proc_locks.5.html} for what Linux tells
 *
 * @example Usage
 * ```ts
 * import { DirLock, lockHolders } from "@aperture/atomic";
 *
 * const dir = await Deno.makeTempDir();
 * using _lock = await DirLock.acquire(dir);
 * console.log(await lockHolders(dir)); // [Deno.pid] on Linux, with all permissions
 * ```
 */
// deno-lint-ignore require-await -- so that bad arguments reject, as in the other calls
export async function lockHolders(
  dir: string | URL,
  options?: LockHoldersOptions,
): Promise<number[] | null> {
  const { lockFileName = LOCK_FILE_NAME } = readOptions(options, HOLDERS_OPTIONS);
  return holdersOf(joinPath(absolutePath(dir), lockFileName));
}

const HOLDERS_OPTIONS: Checks<LockHoldersOptions> = { lockFileName: isFileName };
