/**
 * The lock was not free within the `timeout` that was asked for.
 *
 * @example Usage
 * ```ts
 * import { DirLock, LockTimeoutError } from "@aperture/atomic";
 * import { assertRejects } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * using _held = await DirLock.acquire(dir);
 * await assertRejects(() => DirLock.acquire(dir, { timeout: 10 }), LockTimeoutError);
 * ```
 */
export class LockTimeoutError extends Error {
  /** The name of the class. */
  override readonly name = "LockTimeoutError";
  /** The system's code for a timeout. */
  readonly code = "ETIMEDOUT";
  /** The lock file. */
  readonly path: string;
  /** How long the lock was waited for, in milliseconds. */
  readonly timeout: number;
  /** The ids of the processes that hold the lock, as {@linkcode lockHolders} tells them. */
  readonly holders: number[] | null;

  /**
   * Makes the error for a wait.
   *
   * @param path The lock file.
   * @param timeout How long it was waited for, in milliseconds.
   * @param holders The ids of the processes that hold the lock, or null if they are not known.
   */
  constructor(path: string, timeout: number, holders: number[] | null = null) {
    const who = holders?.length ? `process ${holders.join(", ")}` : "another";
    super(`Cannot lock '${path}': it is held by ${who} and was not free within ${timeout} ms`);
    this.path = path;
    this.timeout = timeout;
    this.holders = holders;
  }
}

/**
 * The wait could never have ended: the thread that would block is the one that has to
 * release the lock first.
 *
 * @example Usage
 * ```ts
 * import { DeadlockError, DirLock } from "@aperture/atomic";
 * import { assertThrows } from "@std/assert";
 *
 * const dir = Deno.makeTempDirSync();
 * using _held = DirLock.acquireSync(dir);
 * assertThrows(() => DirLock.acquireSync(dir), DeadlockError);
 * ```
 */
export class DeadlockError extends Error {
  /** The name of the class. */
  override readonly name = "DeadlockError";
  /** The system's code for a deadlock. */
  readonly code = "EDEADLK";
  /** The lock file. */
  readonly path: string;

  /**
   * Makes the error for a lock.
   *
   * @param path The lock file.
   */
  constructor(path: string) {
    super(
      `Cannot lock '${path}': this thread holds the lock or already waits for it, ` +
        "so waiting without giving up the thread would never end",
    );
    this.path = path;
  }
}

/**
 * The lock is held no longer by who believes to hold it: it was released, or the lock file
 * was removed or replaced, and others lock the new one.
 *
 * @example Usage
 * ```ts
 * import { DirLock, LockLostError } from "@aperture/atomic";
 * import { assertThrows } from "@std/assert";
 *
 * using lock = await DirLock.acquire(await Deno.makeTempDir());
 * await Deno.remove(lock.path);
 * assertThrows(() => lock.verify(), LockLostError);
 * ```
 */
export class LockLostError extends Error {
  /** The name of the class. */
  override readonly name = "LockLostError";
  /** The system's code for a file that is no longer the one that was opened. */
  readonly code = "ESTALE";
  /** The lock file. */
  readonly path: string;

  /**
   * Makes the error for a lock.
   *
   * @param path The lock file.
   */
  constructor(path: string) {
    super(
      `The lock '${path}' is held no longer: it was released, or its file removed or replaced`,
    );
    this.path = path;
  }
}
