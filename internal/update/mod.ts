import { basename } from "@std/path/basename";
import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import { onAbort, throwIfAborted } from "../base/abort.ts";
import { withContext } from "../base/errors.ts";
import { DeadlockError, LockLostError } from "../lock/errors.ts";
import { pathStillIs } from "../lock/file.ts";
import { type Hold, isHeld, release } from "../lock/queue.ts";
import type { LockRequest } from "../lock/request.ts";
import { acquire, acquireSync } from "../lock/acquire.ts";
import { watchUpdate } from "../lock/deadlock_warning.ts";
import { joinPath, pathKey } from "../base/paths.ts";
import { readInTurn, readInTurnSync, waitForTurn, waitForTurnSync } from "../order/read_turn.ts";
import { failure, type WriteRequest } from "../write/request.ts";
import { ignoreFailure } from "../base/steps.ts";
import { findTarget } from "../write/target.ts";
import { write, writeSync } from "../write/mod.ts";

/** The lock of an update: one that is held, or how to acquire the one of a directory. */
export type UpdateLock = Hold | ((dir: string) => LockRequest);

/** Reads a file, and writes what `fn` returns, under the lock of its directory. */
export function update(
  request: WriteRequest,
  fn: (current: Uint8Array | null) => unknown,
  lock: UpdateLock,
): Promise<void> {
  const { signal } = request;
  return new Promise((resolve, reject) => {
    // An abort is told while `fn` works, but the lock stays held: `fn` may go on to rely on it.
    const heard = async (current: Uint8Array | null) => {
      throwIfAborted(signal);
      const stopListening = onAbort(signal, () => reject(signal!.reason));
      try {
        return await fn(current);
      } finally {
        stopListening();
      }
    };
    underLock(request, heard, lock).then(resolve, reject);
  });
}

async function underLock(
  request: WriteRequest,
  fn: (current: Uint8Array | null) => unknown,
  lock: UpdateLock,
): Promise<void> {
  if (typeof lock !== "function") return await underHeldLock(request, fn, lock);
  for (;;) {
    const [dir, acquisition] = lockFor(targetOf(request), lock);
    const hold = await acquire(acquisition);
    try {
      await waitForTurn(request.path, request.signal);
      const target = targetOf(request);
      // A link was pointed elsewhere meanwhile: the lock is the one of another directory.
      if (dirname(target) !== dir) continue;
      return await change(request, target, hold, fn);
    } finally {
      release(hold);
    }
  }
}

/** The synchronous form of {@linkcode update}. */
export function updateSync(
  request: WriteRequest,
  fn: (current: Uint8Array | null) => unknown,
  lock: UpdateLock,
): void {
  if (typeof lock !== "function") {
    waitForTurnSync(request.path);
    return underHeldLockSync(request, fn, lock);
  }
  for (;;) {
    const [dir, acquisition] = lockFor(targetOf(request), lock);
    const hold = acquireSync(acquisition);
    try {
      waitForTurnSync(request.path);
      const target = targetOf(request);
      if (dirname(target) !== dir) continue;
      return changeSync(request, target, hold, fn);
    } finally {
      release(hold);
    }
  }
}

/** One after another: updates that were handed one lock do not keep each other out by it. */
async function underHeldLock(
  request: WriteRequest,
  fn: (current: Uint8Array | null) => unknown,
  hold: Hold,
): Promise<void> {
  while (!await inTurnUnderLock(request, fn, hold));
}

/** Whether it is done; not if a link was pointed meanwhile at a file whose turn this is not. */
async function inTurnUnderLock(
  request: WriteRequest,
  fn: (current: Uint8Array | null) => unknown,
  hold: Hold,
): Promise<boolean> {
  const { path, signal } = request;
  const key = updateKey(lockedTarget(request, hold), hold);
  const files = hold.updates ??= new Map();
  const before = files.get(key)?.last;
  const updates = files.get(key) ?? { last: undefined, patient: 0 };
  files.set(key, updates);
  const patient = before !== undefined && signal === undefined ? 1 : 0;
  updates.patient += patient;
  return await new Promise<boolean>((resolve, reject) => {
    const stopListening = onAbort(signal, () => reject(signal!.reason));
    const work = async () => {
      stopListening();
      updates.patient -= patient;
      throwIfAborted(signal);
      const stopWatching = watchUpdate(path, () => updates.patient > 0);
      try {
        await waitForTurn(path, signal);
        const target = lockedTarget(request, hold);
        if (updateKey(target, hold) !== key) return false;
        await change(request, target, hold, fn);
        return true;
      } finally {
        stopWatching();
      }
    };
    const done = (before === undefined ? work() : before.then(work, work)).finally(() => {
      if (updates.last === done) files.delete(key);
    });
    updates.last = done;
    done.then(resolve, reject);
  });
}

function underHeldLockSync(
  request: WriteRequest,
  fn: (current: Uint8Array | null) => unknown,
  hold: Hold,
): void {
  const target = lockedTarget(request, hold);
  const key = updateKey(target, hold);
  const files = hold.updates ??= new Map();
  // It cannot be waited for while this thread is blocked.
  if (files.has(key)) throw new DeadlockError(hold.path);
  const done = Promise.resolve();
  const updates = { last: done, patient: 0 };
  files.set(key, updates);
  try {
    changeSync(request, target, hold, fn);
  } finally {
    // An asynchronous one that was called meanwhile comes after it.
    if (updates.last === done) files.delete(key);
  }
}

/** Which file of the lock's directory it is, however that directory is called. */
function updateKey(target: string, hold: Hold): string {
  return pathKey(joinPath(hold.dir, basename(target)));
}

async function change(
  request: WriteRequest,
  target: string,
  hold: Hold,
  fn: (current: Uint8Array | null) => unknown,
): Promise<void> {
  const checked = writeRequestUnder(request, target, hold);
  const data = await fn(await readInTurn(checked));
  if (data === null) return;
  await write(checked, data);
  madeIsDurable(checked, hold);
}

function changeSync(
  request: WriteRequest,
  target: string,
  hold: Hold,
  fn: (current: Uint8Array | null) => unknown,
): void {
  const checked = writeRequestUnder(request, target, hold);
  const data = fn(readInTurnSync(checked));
  if (data === null) return;
  ignoreFailure(data); // Of an asynchronous function, whose data is refused.
  writeSync(checked, data);
  madeIsDurable(checked, hold);
}

/** Directories that were made for a lock are synced by the first durable update under it. */
function madeIsDurable({ durability, createdDirs }: WriteRequest, hold: Hold): void {
  if (durability === "durable") hold.createdDirs.splice(0, createdDirs!.length);
}

/** The write of an update: to the file that was read, if it is that one and the lock is held still. */
function writeRequestUnder(request: WriteRequest, target: string, hold: Hold): WriteRequest {
  const verify = (path: string) => {
    if (!isHeld(hold)) throw new LockLostError(hold.path);
    if (path === target) return;
    // It may be in another directory, whose lock is not held.
    throw failure(
      runtime.error("ESTALE", "Became a link to another file", target),
      request,
      "check",
    );
  };
  return {
    ...request,
    path: target,
    calledAs: request.path,
    verify,
    createdDirs: [...hold.createdDirs],
  };
}

/** The file that is to be changed, links followed. */
function targetOf(request: WriteRequest): string {
  try {
    return findTarget(request.path, request.createNew ? "none" : request.symlinks).path;
  } catch (error) {
    throw withContext(error, `Cannot update '${request.path}'`);
  }
}

/** The directory of a file that is to be changed, and how to acquire its lock. */
function lockFor(target: string, lock: (dir: string) => LockRequest): [string, LockRequest] {
  const dir = dirname(target);
  const request = lock(dir);
  mustBeApart(target, request.path);
  return [dir, request];
}

/** The lock would create the file, empty, and lose who waits for it when the file is replaced. */
function mustBeApart(target: string, lockPath: string): void {
  if (pathKey(target) !== pathKey(lockPath)) return;
  throw new RangeError(`'lock' must be that of another file than '${target}', which is updated`);
}

/** The file that is to be changed, whose directory's lock must be the one that is held. */
function lockedTarget(request: WriteRequest, hold: Hold): string {
  if (!isHeld(hold)) throw new LockLostError(hold.path);
  const target = targetOf(request);
  const dir = dirname(target);
  const path = joinPath(dir, basename(hold.path));
  mustBeApart(target, path);
  if (!pathStillIs({ dir, path }, hold.id)) {
    throw new RangeError(
      `'lock' must be the lock of the file's directory '${dir}': received that of '${hold.dir}'`,
    );
  }
  return target;
}
