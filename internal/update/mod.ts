import { basename } from "@std/path/basename";
import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import { onAbort, throwIfAborted } from "../base/abort.ts";
import { own, withContext } from "../base/errors.ts";
import { isFunction, readOptions } from "../base/options.ts";
import { joinPath, type PathArgument, pathKey } from "../base/paths.ts";
import { call, ignoreFailure, run, runSync, type Steps } from "../base/steps.ts";
import { acquire } from "../lock/acquire.ts";
import { DEADLOCK_WARNING_MS, watchWait } from "../lock/deadlock_warning.ts";
import { DeadlockError, LockLostError } from "../lock/errors.ts";
import { pathStillIs } from "../lock/file.ts";
import { type Hold, holdOf, isHeld, release } from "../lock/queue.ts";
import { ACQUIRE_SYNC_OPTIONS, type AcquireSyncOptions, lockRequest } from "../lock/request.ts";
import { inTurn } from "../order/path_queue.ts";
import { isCurrent, readInTurn, waitForTurn } from "../order/read_turn.ts";
import { write, writeSync } from "../write/mod.ts";
import { failure } from "../write/errors.ts";
import { type WriteRequest, writeRequest } from "../write/request.ts";
import { findTarget } from "../write/target.ts";
import type { UpdateOptions } from "./request.ts";

/** The maximum number of calls to `fn` if other programs keep changing the file. */
const MAX_TRIES = 10;

/** Returns the new content of a file, or null to leave the file unchanged. */
type Change = (current: Uint8Array | null) => unknown;

/**
 * Reads a file and writes what `fn` returns, all while holding the lock on the file's directory.
 */
export async function update(
  path: PathArgument,
  fn: Change,
  { lock, ...options }: UpdateOptions,
): Promise<void> {
  isFunction(fn, "fn");
  const request = writeRequest(path, options);
  const { signal } = request;
  throwIfAborted(signal);
  await new Promise<void>((resolve, reject) => {
    /**
     * While `fn` runs, an abort rejects the call immediately. However, the lock stays held until
     * `fn` has finished, because `fn` may still rely on it.
     */
    const abortableFn = async (current: Uint8Array | null) => {
      throwIfAborted(signal);
      const stopListening = onAbort(signal, () => reject(signal!.reason));
      try {
        return await fn(current);
      } finally {
        stopListening();
      }
    };
    run(underLock(request, abortableFn, lock)).then(resolve, reject);
  });
}

/** The synchronous form of {@linkcode update}. */
export function updateSync(
  path: PathArgument,
  fn: Change,
  { lock, ...options }: UpdateOptions,
): void {
  isFunction(fn, "fn");
  runSync(underLock(writeRequest(path, options), fn, lock));
}

/** Updates the file under `lock`, which is a held lock or options for acquiring one. */
function* underLock(
  request: WriteRequest,
  fn: Change,
  lock: object | undefined,
): Steps<void> {
  const held = holdOf(lock);
  if (held !== undefined) return yield* underHeldLock(request, fn, held);
  const { signal } = request;
  for (;;) {
    const target = targetOf(request);
    const dir = dirname(target);
    // Spreading `lock` itself would lose inherited options.
    const options = readOptions<AcquireSyncOptions>(lock, ACQUIRE_SYNC_OPTIONS);
    const acquisition = lockRequest(dir, { ...options, ...signal && { signal } });
    mustBeApart(target, acquisition.path);
    const hold = yield* acquire(acquisition);
    try {
      yield* waitForTurn(request.path, signal);
      const target = targetOf(request);
      // If the directory has changed, a link now leads to a different one, with a different lock.
      if (dirname(target) === dir) return yield* change(request, target, hold, fn);
    } finally {
      release(hold);
    }
  }
}

/** Runs an update after all earlier updates to the same file under the same lock. */
function* underHeldLock(request: WriteRequest, fn: Change, hold: Hold): Steps<void> {
  const { path, signal } = request;
  for (let done = false; !done;) {
    const key = updateKey(lockedTarget(request, hold), hold);
    const stopWatching = watchWait(
      path,
      () => signal === undefined ? mayNeverEnd(path) : undefined,
    );
    try {
      done = yield* inTurn(key, {
        *steps() {
          stopWatching();
          yield* waitForTurn(path, signal);
          const target = lockedTarget(request, hold);
          // If the key differs, a link now leads to another file, with a different queue.
          const isSame = updateKey(target, hold) === key;
          if (isSame) yield* change(request, target, hold, fn);
          return isSame;
        },
        signal,
        takeOver() {
          throw new DeadlockError(hold.path);
        },
      });
    } finally {
      stopWatching();
    }
  }
}

function mayNeverEnd(path: string): string {
  return `An update of '${path}' has waited ${DEADLOCK_WARNING_MS / 1_000} s for another update ` +
    "under the same lock. If it was called inside the other update's 'fn', it is waiting for " +
    "itself: move the call out of 'fn'";
}

/**
 * The queue key for a file's updates under a lock. It is the same for all paths to the lock's
 * directory.
 */
function updateKey(target: string, { key }: Hold): string {
  return `${key}/${pathKey(basename(target))}`;
}

/**
 * Reads the file, calls `fn` and writes the result. Starts over if the file changed in the
 * meantime.
 */
function* change(
  request: WriteRequest,
  target: string,
  hold: Hold,
  fn: Change,
): Steps<void> {
  const { path: calledAs, signal } = request;
  const read = { path: target, calledAs, signal };
  for (let tries = 1;; tries++) {
    const version = yield* readInTurn(read);
    const data = yield* call(() => fn(version.bytes));
    // If this is a promise, updateSync() throws, and nothing else would handle its rejection.
    ignoreFailure(data);
    if (data === null) return;
    if (data === undefined) {
      throw own(
        new TypeError(
          "'fn' must return the new content, or null to leave the file unchanged: " +
            "received undefined (missing 'return'?)",
        ),
      );
    }
    let hasChanged = false;
    const verify = (path: string) => {
      if (!isHeld(hold)) throw new LockLostError(hold.path);
      // The new target may be in another directory, whose lock is not held.
      if (path !== target) throw stale(request, "The file was replaced by a link to another file");
      // With `createNew`, link(2) fails if another writer created the file.
      hasChanged = request.existing !== "refuse" && !isCurrent(version, path);
      if (hasChanged) {
        throw stale(request, "Another writer changed the file while 'fn' was running");
      }
    };
    const checked = { ...request, path: target, calledAs, verify };
    try {
      yield (_, isSync) => isSync ? writeSync(checked, data) : write(checked, data);
      return;
    } catch (error) {
      if (!hasChanged) throw error;
      // A stream cannot be read twice: a finished generator would produce an empty file.
      if (tries === MAX_TRIES || !isInMemory(data)) throw Object.assign(error as Error, { tries });
    }
  }
}

function stale(request: WriteRequest, message: string): unknown {
  return failure(runtime.error("ESTALE", message, request.path), request, "check");
}

/** Whether data is a string or bytes (from any realm), as opposed to a stream, iterable or Blob. */
function isInMemory(data: unknown): boolean {
  return typeof data === "string" || typeof Object(data).byteLength === "number";
}

/** The file to update, after following links. */
function targetOf(request: WriteRequest): string {
  try {
    return findTarget(request.path, request.existing).path;
  } catch (error) {
    throw withContext(error, `Cannot update '${request.path}'`);
  }
}

/** Throws if the target is also the lock file: the update would replace the locked file. */
function mustBeApart(target: string, lockPath: string): void {
  if (pathKey(target) !== pathKey(lockPath)) return;
  throw new RangeError(
    `'lock' must not use '${target}' as the lock file: it is the file to be updated`,
  );
}

/** Returns the file to update. Throws unless the held lock is on the file's directory. */
function lockedTarget(request: WriteRequest, hold: Hold): string {
  if (!isHeld(hold)) throw new LockLostError(hold.path);
  const target = targetOf(request);
  const dir = dirname(target);
  const path = joinPath(dir, basename(hold.path));
  mustBeApart(target, path);
  if (!pathStillIs(path, hold.id)) {
    throw new RangeError(
      `'lock' must be a lock on the file's directory '${dir}': received a lock on '${hold.dir}'`,
    );
  }
  return target;
}
