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

import { codeOf, explain } from "./_errors.ts";
import {
  ACQUIRE_CHECKS,
  ACQUIRE_SYNC_CHECKS,
  isFunction,
  readOptions,
  TRY_ACQUIRE_CHECKS,
} from "./_options.ts";
import { absolutePath, inside } from "./_paths.ts";
import { runtime } from "./runtime/mod.ts";
import { call, patience, runSync } from "./runtime/steps.ts";
import type { FileInfo, LockFile } from "./runtime/types.ts";

/** The name of the file that holds a directory's lock. */
export const LOCK_FILE_NAME = ".aperture.lock";

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
   * How long to wait for the lock at most, in milliseconds. 0 tries once; absent or
   * Infinity waits for ever.
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

  /**
   * Makes the error for a wait.
   *
   * @param path The lock file.
   * @param timeout How long it was waited for, in milliseconds.
   */
  constructor(path: string, timeout: number) {
    super(`Cannot lock '${path}': it is held by another and was not free within ${timeout} ms`);
    this.path = path;
    this.timeout = timeout;
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
  readonly #hold: Hold;

  private constructor({ dir, path, shared }: Request, hold: Hold) {
    this.dir = dir;
    this.path = path;
    this.shared = shared;
    this.#hold = hold;
  }

  /**
   * Waits until the directory's lock is free and takes it.
   *
   * The directory and the lock file are created when they are missing. Callers of one
   * process are served in the order in which they came, shared ones together; among
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
    const request = requestOf(dir, readOptions(options, ACQUIRE_CHECKS));
    request.signal?.throwIfAborted();
    let hold: Hold | undefined;
    if (!mustGiveWay(request)) {
      hold = await whenOpened(request, () => attempt(request, false));
      if (hold === undefined && request.timeout === 0) {
        throw new LockTimeoutError(request.path, 0);
      }
    }
    return new DirLock(request, hold ?? await wait(request));
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
    const request = requestOf(dir, readOptions(options, TRY_ACQUIRE_CHECKS));
    const hold = await whenOpened(request, () => attempt(request, false));
    return hold === undefined ? null : new DirLock(request, hold);
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
   * @throws {DeadlockError} If this thread holds the lock itself, so that it could never be free.
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
    const request = requestOf(dir, readOptions(options, ACQUIRE_SYNC_CHECKS));
    return new DirLock(request, waitSync(request));
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
    const request = requestOf(dir, readOptions(options, TRY_ACQUIRE_CHECKS));
    const hold = runSync(call(() => attempt(request, false)));
    return hold === undefined ? null : new DirLock(request, hold);
  }

  /** Whether the lock has been released. */
  get released(): boolean {
    return !this.#hold.queue.holders.has(this.#hold);
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
    const { path, file, queue } = this.#hold;
    if (!queue.holders.delete(this.#hold)) return;
    if (streak.path === path) streak.freed = performance.now();
    // A close alone frees the lock late on Windows, and on Unix not while a child that is being
    // spawned has a copy of the descriptor. What fails of the two leaves nothing to be done: the
    // descriptor is gone all the same, close(2), and an error would hide that of a `using` scope.
    for (const free of [() => file.unlock(), () => file.close()]) {
      try {
        free();
      } catch {
        // See above.
      }
    }
    advance(queue);
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
  using lock = await DirLock.acquire(dir, options);
  return await fn(lock);
}

/** How often to try again to open a lock file that was replaced in between each time. */
const MAX_TRIES = 100;
/** How long a thread may have a lock again and again before it lets others have a chance, in milliseconds. */
const LONGEST_STREAK = 20;
/** A lock that is free for so long is one that others had a chance to get, in milliseconds. */
const GAP = 1;
/** How long a chance is: those who poll do it within this, in milliseconds. */
const GIVE_WAY = 2;
/** A longer timeout makes setTimeout() fire at once. */
const MAX_TIMER = 2 ** 31 - 1;
/** What flock(2) fails with on a file system without locks. */
const NO_LOCKS = new Set(["ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);
/** What opening another user's lock file for writing fails with. */
const NOT_WRITABLE = new Set(["EACCES", "EPERM", "EROFS"]);

/** A call to acquire, checked. */
interface Request {
  readonly dir: string;
  readonly path: string;
  readonly shared: boolean;
  readonly timeout: number;
  /** When the timeout is over, by performance.now(). */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  /** Says that there is a wait, the first time that it is called. */
  onWait(): void;
}

/** A lock that is held. */
interface Hold {
  readonly shared: boolean;
  readonly path: string;
  readonly file: LockFile;
  readonly queue: Queue;
}

/** One who waits for a lock. */
interface Waiter {
  readonly shared: boolean;
  /** Ends the waiter's pause. */
  wake: () => void;
}

/** Who of this thread holds one lock file's lock, and who waits for it, in order. */
interface Queue {
  readonly id: string;
  readonly holders: Set<Hold>;
  readonly waiters: Waiter[];
  /** How many of the waiters wait in the kernel. */
  inKernel: number;
}

/**
 * The queues by lock file. An ESM and a CommonJS copy of this module in one program have
 * to see each other's locks, or acquireSync() could block on a lock of its own thread.
 */
function queues(): Map<string, Queue> {
  const key = Symbol.for("@aperture/atomic/queues/1");
  const holder = globalThis as { [key]?: Map<string, Queue> };
  return holder[key] ??= new Map();
}

function requestOf(dir: string | URL, options: AcquireOptions): Request {
  const { shared = false, lockFileName = LOCK_FILE_NAME, timeout = Infinity, signal, onWait } =
    options;
  const absolute = absolutePath(dir);
  let told = false;
  return {
    dir: absolute,
    path: inside(absolute, lockFileName),
    shared,
    timeout,
    deadline: performance.now() + timeout,
    signal,
    onWait() {
      if (!told) onWait?.();
      told = true;
    },
  };
}

/**
 * Tries once to take the lock; undefined if it is not free. `overtake` is for who
 * cannot wait for its turn.
 *
 * All of it is synchronous: a handful of calls that the kernel answers from memory, after
 * which nothing of this thread can have come in between.
 */
function attempt(request: Request, overtake: boolean): Hold | undefined {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const id = identify(request);
    const queue = queues().get(id);
    if (queue !== undefined) {
      if (!admits(queue, request.shared)) return undefined;
      if (!overtake && queue.waiters.length > 0) return undefined;
    }
    const file = openLockFile(request, id);
    if (file === undefined) continue;
    let hold: Hold | undefined;
    try {
      if (!tryLock(request, file)) return undefined;
      hold = take(request, id, file);
      if (hold !== undefined) return hold;
    } finally {
      if (hold === undefined) file.close();
    }
  }
  throw replacedAgain(request);
}

/** Waits in the queue of this thread, then for other processes. */
async function wait(request: Request): Promise<Hold> {
  for (;;) {
    const id = identify(request);
    const queue = queueOf(id);
    const waiter: Waiter = { shared: request.shared, wake: () => {} };
    queue.waiters.push(waiter);
    try {
      while (queue.waiters[0] !== waiter || !admits(queue, request.shared)) {
        request.onWait();
        await pause(request, Infinity, waiter);
      }
      if (mustGiveWay(request)) await pause(request, GIVE_WAY);
      const file = await whenOpened(request, () => openLockFile(request, id));
      const hold = file && await contend(request, waiter, id, file);
      if (hold !== undefined) return hold;
      await pause(request, 1);
    } finally {
      queue.waiters.splice(queue.waiters.indexOf(waiter), 1);
      advance(queue);
    }
  }
}

/** Waits for the lock at the head of the queue; undefined if the lock file was replaced meanwhile. */
async function contend(
  request: Request,
  waiter: Waiter,
  id: string,
  file: LockFile,
): Promise<Hold | undefined> {
  const queue = queueOf(id);
  let hold: Hold | undefined;
  try {
    for (let polls = 0; !tryLock(request, file); polls++) {
      request.onWait();
      // A wait in the kernel cannot be given up.
      const patient = request.deadline === Infinity && request.signal === undefined;
      if (patient && kernelWaits < runtime.kernelWaits) await waitInKernel(request, queue, file);
      else await pause(request, pollInterval(polls), waiter);
    }
    hold = take(request, id, file);
    return hold;
  } finally {
    if (hold === undefined) file.close();
  }
}

/** The time since which this thread has had one lock again and again, with no gap for others. */
const streak = { path: "", since: 0, freed: 0 };

/**
 * Whether others should have a chance first. A thread that frees a lock and takes it again is
 * always quicker than those of other processes, whom the kernel has to wake or who poll.
 */
function mustGiveWay({ path, timeout }: Request): boolean {
  const now = performance.now();
  return path === streak.path && timeout > 0 && now - streak.freed < GAP &&
    now - streak.since > LONGEST_STREAK;
}

/** How many waits of this thread are in the kernel. */
let kernelWaits = 0;

async function waitInKernel(request: Request, queue: Queue, file: LockFile): Promise<void> {
  kernelWaits++;
  queue.inKernel++;
  try {
    await file.lock(!request.shared);
  } catch (error) {
    // flock(2) is not restarted after every signal, and Rust does not do it either.
    if (codeOf(error) !== "EINTR") throw failure(error, request);
  } finally {
    kernelWaits--;
    queue.inKernel--;
  }
}

function waitSync(request: Request): Hold {
  for (let waits = 0;; waits++) {
    const hold = runSync(call(() => attempt(request, true)));
    if (hold !== undefined) return hold;
    const queue = queues().get(identify(request));
    // Who waits in the kernel may get the lock first, and could not use it nor free it.
    if (queue !== undefined && (!admits(queue, request.shared) || queue.inKernel > 0)) {
      throw new DeadlockError(request.path);
    }
    const left = request.deadline - performance.now();
    if (left <= 0) throw new LockTimeoutError(request.path, request.timeout);
    request.onWait();
    runtime.sync.sleep(Math.min(left, pollInterval(waits)));
  }
}

/** Who polls ever more slowly starves beside those who have just come: 1 ms, in the end 5. */
function pollInterval(polls: number): number {
  return Math.min(5, 1 + polls / 1_000);
}

/** Calls `open`, as soon as there is a free file descriptor for it. */
async function whenOpened<T>(request: Request, open: () => T): Promise<T> {
  for (const descriptors = patience();;) {
    try {
      return open();
    } catch (error) {
      const time = descriptors.after(error);
      if (time === 0) throw error;
      await pause(request, time);
    }
  }
}

/** Waits for `milliseconds` or until the waiter is woken, within the timeout and until the signal is aborted. */
function pause(request: Request, milliseconds: number, waiter?: Waiter): Promise<void> {
  const { signal } = request;
  const left = request.deadline - performance.now();
  const time = Math.min(milliseconds, left);
  return new Promise((resolve, reject) => {
    if (left <= 0) return reject(new LockTimeoutError(request.path, request.timeout));
    if (signal?.aborted) return reject(signal.reason);
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      resolve();
    };
    const abort = () => {
      reject(signal!.reason);
      end();
    };
    const timer = time === Infinity ? undefined : setTimeout(end, Math.min(time, MAX_TIMER));
    signal?.addEventListener("abort", abort);
    if (waiter !== undefined) waiter.wake = end;
  });
}

function queueOf(id: string): Queue {
  let queue = queues().get(id);
  if (queue === undefined) {
    queues().set(id, queue = { id, holders: new Set(), waiters: [], inKernel: 0 });
  }
  return queue;
}

/** Whether the holders of this thread leave room for another one. */
function admits(queue: Queue, shared: boolean): boolean {
  for (const holder of queue.holders) if (!shared || !holder.shared) return false;
  return true;
}

/** Lets the head of the queue go on, if there is room for it. */
function advance(queue: Queue): void {
  const [head] = queue.waiters;
  if (head !== undefined && admits(queue, head.shared)) head.wake();
  if (head === undefined && queue.holders.size === 0) queues().delete(queue.id);
}

/** The identity of the lock file, which is created if it is missing. */
function identify(request: Request): string {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const info = lstat(request);
    if (info === undefined) create(request);
    else if (info.kind === "file") return identity(request, info);
    else {
      const reason = info.kind === "symlink" ? "a symbolic link" : "not a regular file";
      throw runtime.error(
        info.kind === "symlink" ? "ELOOP" : "ENOTSUP",
        `Cannot lock '${request.path}': it is ${reason}`,
        request.path,
      );
    }
  }
  throw replacedAgain(request);
}

function identity(request: Request, { id }: { id: string }): string {
  return id === "" ? request.path : id;
}

function lstat(request: Request): FileInfo | undefined {
  try {
    return runtime.sync.lstat(request.path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw failure(error, request);
  }
}

/** Creates the lock file, exclusively: never where a link points that somebody planted. */
function create(request: Request): void {
  try {
    runtime.sync.create(request.path, undefined).close();
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") return;
    if (code !== "ENOENT") throw failure(error, request);
    try {
      runtime.ensureDir(request.dir);
    } catch (error) {
      throw failure(error, request);
    }
  }
}

/** Opens the lock file; undefined if it is no longer the one that `id` identifies. */
function openLockFile(request: Request, id: string): LockFile | undefined {
  for (const access of ["read-write", "read"] as const) {
    try {
      const file = runtime.openLock(request.path, access);
      if (identity(request, file) === id) return file;
      file.close();
      return undefined;
    } catch (error) {
      const code = codeOf(error) ?? "";
      if (code === "ENOENT") return undefined;
      // For writing first, since flock(2) wants that on NFS; for reading does elsewhere.
      if (access === "read" || !NOT_WRITABLE.has(code)) throw failure(error, request);
    }
  }
}

function tryLock(request: Request, file: LockFile): boolean {
  for (let tries = 1;; tries++) {
    try {
      return file.tryLock(!request.shared);
    } catch (error) {
      if (codeOf(error) !== "EINTR" || tries === MAX_TRIES) throw failure(error, request);
    }
  }
}

/**
 * Makes a hold of the lock on `file`; undefined if the lock file is another one by now:
 * someone removed or replaced it before the lock was granted, and may hold the new one's.
 */
function take(request: Request, id: string, file: LockFile): Hold | undefined {
  const info = lstat(request);
  if (info?.kind !== "file" || identity(request, info) !== id) return undefined;
  const queue = queueOf(id);
  const hold = { shared: request.shared, path: request.path, file, queue };
  queue.holders.add(hold);
  const now = performance.now();
  if (streak.path !== request.path || now - streak.freed >= GAP) {
    Object.assign(streak, { path: request.path, since: now });
  }
  return hold;
}

function failure(error: unknown, { path }: Request): unknown {
  const hint = NO_LOCKS.has(codeOf(error) ?? "") ? "this file system has no locks" : "";
  return explain(error, `Cannot lock '${path}'${hint && `, ${hint}`}`, {});
}

function replacedAgain({ path }: Request): Error {
  const message = `Cannot lock '${path}': the file is removed or replaced again and again`;
  return runtime.error("ESTALE", message, path);
}
