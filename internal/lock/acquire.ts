import { runtime } from "../../runtime/mod.ts";
import type { LockFile } from "../../runtime/types.ts";
import { throwIfAborted } from "../base/abort.ts";
import { BLOCKING_PATIENCE, descriptorPauses, lacksDescriptors } from "../base/descriptors.ts";
import { codeOf } from "../base/errors.ts";
import type { Place } from "../base/linked_list.ts";
import {
  IN_USE,
  lockFailure,
  lockFileId,
  MAX_TRIES,
  openLockFile,
  replacedAgain,
  tryLock,
} from "./file.ts";
import { DeadlockError } from "./errors.ts";
import { pause, timedOut, timeLeft, whenOpened } from "./pause.ts";
import {
  findQueue,
  hasRoomFor,
  type Hold,
  hold,
  isNext,
  joinQueue,
  leaveQueue,
  mustGiveWay,
  type Queue,
  type Waiter,
} from "./queue.ts";
import type { LockRequest } from "./request.ts";
import { isPromise } from "../base/steps.ts";

/** How long others have a chance: those who poll do it within this, in milliseconds. */
const YIELD_MS = 2;

/** Waits for the lock. It joins the queue before it returns, so that all are served in order. */
export async function acquire(request: LockRequest): Promise<Hold> {
  throwIfAborted(request.signal);
  const isOver = () => timeLeft(request) <= 0;
  if (isOver() || !mustGiveWay(request.path)) {
    try {
      const held = tryAcquire(request, false);
      if (held !== undefined) return held;
      if (isOver()) throw timedOut(request);
    } catch (error) {
      if (!lacksDescriptors(error) || isOver()) throw error;
    }
  }
  for (;;) {
    const held = await wait(request);
    if (held !== undefined) return held;
  }
}

/** As {@linkcode tryAcquire}, as soon as there is a free file descriptor for it. */
export async function tryAcquireOnce(request: LockRequest): Promise<Hold | undefined> {
  return await whenOpened(request, () => tryAcquire(request, false));
}

/** Takes the lock if it is free; undefined if not. Nothing of this thread can come in between. */
export function tryAcquire(request: LockRequest, overtake: boolean): Hold | undefined {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const id = lockFileId(request);
    const queue = findQueue(id);
    if (queue !== undefined) {
      if (!hasRoomFor(queue, request.shared)) return undefined;
      if (!overtake && queue.waiters.first !== undefined) return undefined;
    }
    const file = openLockFile(request, id);
    if (file === undefined) continue;
    if (file === IN_USE) return undefined;
    let held: Hold | undefined;
    try {
      if (!tryLock(request, file, request.shared)) return undefined;
      held = hold(request, request.shared, id, file);
      if (held !== undefined) return held;
    } finally {
      if (held === undefined) file.close();
    }
  }
  throw replacedAgain(request);
}

/** Blocks the thread until the lock is free, and overtakes who waits and cannot go on meanwhile. */
export function acquireSync(request: LockRequest): Hold {
  const descriptors = descriptorPauses(BLOCKING_PATIENCE);
  let left = timeLeft(request);
  if (left > 0 && mustGiveWay(request.path)) runtime.sleep(Math.min(left, YIELD_MS));
  for (let polls = 0;; polls++) {
    left = timeLeft(request);
    let time: number;
    try {
      const held = tryAcquire(request, true);
      if (held !== undefined) return held;
      const queue = findQueue(lockFileId(request));
      // Who waits in the kernel may get the lock first, and could not use it nor free it.
      if (queue !== undefined && (!hasRoomFor(queue, request.shared) || queue.inKernel > 0)) {
        throw new DeadlockError(request.path);
      }
      if (left <= 0) throw timedOut(request);
      request.onWait();
      time = pollInterval(polls);
    } catch (error) {
      if (!lacksDescriptors(error) || (time = descriptors()) === 0 || left <= 0) throw error;
    }
    left = timeLeft(request);
    runtime.sleep(Math.max(0, Math.min(left, time)));
  }
}

/** Waits in this thread's queue, then for other processes; undefined if it has to begin again. */
async function wait(request: LockRequest): Promise<Hold | undefined> {
  const { shared } = request;
  const patient = request.deadline === Infinity && request.signal === undefined;
  const lockFile = whenOpened(request, () => lockFileId(request));
  // Not awaited where it is there: the call has to have joined before it returns.
  const id = isPromise(lockFile) ? await lockFile : lockFile;
  const [queue, place] = joinQueue(id, { shared, patient, wake: () => {} }, request.path);
  try {
    while (!isNext(queue, place)) {
      request.onWait();
      // What is called there may have freed the lock.
      if (!isNext(queue, place)) await pause(request, Infinity, place.value);
    }
    if (mustGiveWay(request.path)) await pause(request, YIELD_MS);
    let file = await whenOpened(request, () => openLockFile(request, id));
    for (let polls = 0; file === IN_USE; polls++) {
      request.onWait();
      await pause(request, pollInterval(polls));
      file = await whenOpened(request, () => openLockFile(request, id));
    }
    const held = file && await contend(request, queue, place, file);
    if (held === undefined) await pause(request, 1); // The lock file was replaced.
    return held;
  } finally {
    leaveQueue(queue, place);
  }
}

/** Waits until no other process has the lock; undefined if the lock file was replaced meanwhile. */
async function contend(
  request: LockRequest,
  queue: Queue,
  { value: waiter }: Place<Waiter>,
  file: LockFile,
): Promise<Hold | undefined> {
  let held: Hold | undefined;
  try {
    for (let polls = 0; !tryLock(request, file, request.shared); polls++) {
      request.onWait();
      // A wait in the kernel cannot be given up.
      if (!waiter.patient || kernelWaits >= runtime.kernelWaits) {
        await pause(request, pollInterval(polls));
        continue;
      }
      // It is the lock: to ask for it again on the same handle would be refused on Windows.
      if (await waitInKernel(request, queue, file)) break;
    }
    // The lock may have been freed and the signal aborted in one go.
    throwIfAborted(request.signal);
    held = hold(request, request.shared, queue.id, file);
    return held;
  } finally {
    if (held === undefined) file.close();
  }
}

/** How many waits of this thread are in the kernel. */
let kernelWaits = 0;

/** Whether the lock was granted. */
async function waitInKernel(
  request: LockRequest,
  queue: Queue,
  file: LockFile,
): Promise<boolean> {
  kernelWaits++;
  queue.inKernel++;
  try {
    await file.lock!(!request.shared);
    return true;
  } catch (error) {
    // flock(2) is not restarted after every signal, and Rust does not do it either.
    if (codeOf(error) !== "EINTR") throw lockFailure(error, request);
    return false;
  } finally {
    kernelWaits--;
    queue.inKernel--;
  }
}

/** Who polls ever more slowly starves beside those who have just come: 1 ms, in the end 5. */
function pollInterval(polls: number): number {
  return Math.min(5, 1 + polls / 1_000);
}
