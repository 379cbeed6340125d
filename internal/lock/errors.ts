import process from "node:process";
import { own } from "../base/errors.ts";

/**
 * Thrown if a lock could not be acquired within the call's `timeout`.
 *
 * @example Usage
 * ```ts
 * import { DirLock, LockTimeoutError } from "@aperture/atomic";
 * import assert from "node:assert";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const dir = await mkdtemp(`${tmpdir()}/example-`);
 * const lock = await DirLock.acquire(dir);
 * await assert.rejects(DirLock.acquire(dir, { timeout: 10 }), LockTimeoutError);
 * lock.release();
 * ```
 */
export class LockTimeoutError extends Error {
  /** The name of the class. */
  override readonly name = "LockTimeoutError";
  /** The system's code for a timeout. */
  readonly code = "ETIMEDOUT";
  /** The lock file. */
  readonly path: string;
  /** How long the call waited for the lock, in milliseconds. */
  readonly timeout: number;
  /** The IDs of the processes that hold the lock, as reported by {@linkcode lockHolders}. */
  readonly holders: number[] | null;

  /**
   * Creates the error for a call whose timeout has expired.
   *
   * @param path The lock file.
   * @param timeout How long the call waited, in milliseconds.
   * @param holders The IDs of the processes that hold the lock, or null if unknown.
   */
  constructor(path: string, timeout: number, holders: number[] | null = null) {
    const names = holders?.map((pid) => pid === process.pid ? `${pid} (this process)` : pid);
    const holder = names?.length ? ` by process ${names.join(" and process ")}` : "";
    super(
      `Cannot lock '${path}' within ${timeout} ms: the lock is held${holder}. ` +
        "Try again later, or increase 'timeout'" +
        (holders?.includes(process.pid)
          ? ". To update a file while holding the lock, pass the lock in the 'lock' option"
          : ""),
    );
    this.path = path;
    this.timeout = timeout;
    this.holders = holders;
    own(this);
  }
}

/**
 * Thrown if a call could never return, because it would block the very thread that has to release
 * the lock.
 *
 * @example Usage
 * ```ts
 * import { DeadlockError, DirLock } from "@aperture/atomic";
 * import assert from "node:assert";
 * import { mkdtempSync } from "node:fs";
 * import { tmpdir } from "node:os";
 *
 * const dir = mkdtempSync(`${tmpdir()}/example-`);
 * const lock = DirLock.acquireSync(dir);
 * assert.throws(() => DirLock.acquireSync(dir), DeadlockError);
 * lock.release();
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
   * Creates the error for a lock.
   *
   * @param path The lock file.
   */
  constructor(path: string) {
    super(
      `Cannot lock '${path}': this thread already holds the lock or is waiting for it, ` +
        "so blocking the thread would cause a deadlock. Release the lock first, pass it in the " +
        "'lock' option, or await the asynchronous function instead",
    );
    this.path = path;
    own(this);
  }
}

/**
 * Thrown if a lock is no longer held. Either it was released, or its lock file was removed or
 * replaced, so other programs can lock the new file.
 *
 * @example Usage
 * ```ts
 * import { DirLock, LockLostError } from "@aperture/atomic";
 * import assert from "node:assert";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const lock = await DirLock.acquire(await mkdtemp(`${tmpdir()}/example-`));
 * await rm(lock.path);
 * assert.throws(() => lock.verify(), LockLostError);
 * lock.release();
 * ```
 */
export class LockLostError extends Error {
  /** The name of the class. */
  override readonly name = "LockLostError";
  /** The system's code for a stale file handle. */
  readonly code = "ESTALE";
  /** The lock file. */
  readonly path: string;

  /**
   * Creates the error for a lock.
   *
   * @param path The lock file.
   */
  constructor(path: string) {
    super(
      `The lock on '${path}' is no longer held: it was released, or the file was removed or ` +
        "replaced. Acquire the lock again, and reread the data that it protects",
    );
    this.path = path;
    own(this);
  }
}
