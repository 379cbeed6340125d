import { runtime } from "../../runtime/mod.ts";
import { throwIfAborted } from "../base/abort.ts";
import { clock } from "../base/clock.ts";
import { call, pause, sleep, type Steps } from "../base/steps.ts";
import { LockCandidate } from "./candidate.ts";
import { DeadlockError, LockTimeoutError } from "./errors.ts";
import { mustYield } from "./fairness.ts";
import { MAX_TRIES, replacedTooOften } from "./file.ts";
import {
  type Hold,
  isNext,
  isUnclaimed,
  joinQueue,
  leaveQueue,
  type Queue,
  watch,
  wouldDeadlock,
} from "./queue.ts";
import type { LockRequest } from "./request.ts";

/** How long a thread yields: long enough for every polling process to poll once. */
const YIELD_MS = 2;
/** How long a waiting call polls every millisecond before it slows down. */
const SHORT_WAIT_MS = 4;
/** The longest mean polling interval. */
const MAX_MEAN_MS = 40;

/**
 * Waits for the lock. Asynchronous calls join this thread's queue before their first pause, so that
 * they are served in order. A synchronous call skips the queue: it blocks the thread, so queued
 * calls cannot run in the meantime.
 */
export function* acquire(request: LockRequest): Steps<Hold> {
  throwIfAborted(request.signal);
  const isSync = yield (_, isSync) => isSync;
  return yield* untilCurrent(request, isSync ? compete : takeTurn);
}

/** Takes the lock if it is free and no other call in this thread is waiting for it. */
export function* tryAcquire(request: LockRequest): Steps<Hold | undefined> {
  return yield* untilCurrent(request, function* (_, candidate) {
    if (!isUnclaimed(candidate.id, request.shared)) return undefined;
    const taken = yield* candidate.tryTake();
    return taken === "busy" ? undefined : taken;
  });
}

type Attempt<T> = (request: LockRequest, candidate: LockCandidate) => Steps<T | "replaced">;

/** Makes an attempt, and retries if the lock file was replaced in the meantime. */
function* untilCurrent<T>(request: LockRequest, attempt: Attempt<T>): Steps<T> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const candidate = yield* LockCandidate.find(request, tries === 0);
    try {
      const result = yield* attempt(request, candidate);
      if (result !== "replaced") return result;
    } finally {
      candidate.close();
    }
  }
  throw replacedTooOften(request.path);
}

/**
 * Waits for the call's turn in this thread's queue, then for other processes to release the lock.
 */
function* takeTurn(request: LockRequest, candidate: LockCandidate): Steps<Hold | "replaced"> {
  const { shared, signal } = request;
  const patient = isPatient(request);
  const [queue, place] = joinQueue(candidate.id, { shared, patient, wake: () => {} });
  try {
    while (!isNext(queue, place)) {
      beforeWait(request);
      // The `onWait` callback may have released the lock.
      if (isNext(queue, place)) break;
      watch(queue, request.path);
      yield () => sleep(timeLeft(request), signal, (wake) => place.value.wake = wake);
      throwIfAborted(signal);
    }
    return yield* compete(request, candidate, queue);
  } finally {
    leaveQueue(queue, place);
  }
}

/** Competes with other processes for the lock. Without a queue, the call blocks the thread. */
function* compete(
  request: LockRequest,
  candidate: LockCandidate,
  queue?: Queue,
): Steps<Hold | "replaced"> {
  const { path, shared } = request;
  if (mustYield(path) && timeLeft(request) > 0) yield* pauseFor(request, YIELD_MS);
  for (const started = clock.now();;) {
    const taken = yield* candidate.tryTake();
    if (taken !== "busy") return taken;
    if (queue === undefined && wouldDeadlock(candidate.id, shared)) throw new DeadlockError(path);
    beforeWait(request);
    const inKernel = candidate.canWait && isPatient(request) && kernelWaits < runtime.kernelWaits;
    if (queue !== undefined && inKernel) {
      const taken = yield* call(() => waitInKernel(candidate, queue));
      if (taken !== "busy") return taken;
    } else yield* pauseFor(request, pollInterval(started));
  }
}

/** How many calls in this thread are waiting in the kernel. */
let kernelWaits = 0;

async function waitInKernel(candidate: LockCandidate, queue: Queue) {
  kernelWaits++;
  queue.inKernel++;
  try {
    return await candidate.wait();
  } finally {
    kernelWaits--;
    queue.inKernel--;
  }
}

/**
 * Returns 1 ms at first, then a random interval with a mean of 5 ms or a thirtieth of the time
 * waited so far, whichever is longer. If 60 processes polled more often, they would take CPU time
 * from the lock's holder. If the interval grew faster, newcomers, which poll more often, would
 * starve long waiters.
 */
function pollInterval(started: number): number {
  const waited = clock.now() - started;
  if (waited < SHORT_WAIT_MS) return 1;
  const mean = Math.min(Math.max(waited / 30, 5), MAX_MEAN_MS);
  return mean * (0.4 + 1.2 * Math.random());
}

/** Throws if the timeout has expired; otherwise notifies the caller that it has to wait. */
function beforeWait(request: LockRequest): void {
  const { path, timeout } = request;
  if (timeLeft(request) <= 0) {
    const holders = runtime.lockHolders(path);
    // The lock is held. If no process on this machine appears to hold it, the holder is unknown.
    throw new LockTimeoutError(path, timeout, holders?.length ? holders : null);
  }
  request.onWait();
  throwIfAborted(request.signal);
}

/** Pauses. The pause ends early if the call times out or is aborted. */
function* pauseFor(request: LockRequest, milliseconds: number): Steps<void> {
  yield* pause(Math.max(0, Math.min(milliseconds, timeLeft(request))), request.signal);
  throwIfAborted(request.signal);
}

/** Whether the wait has no timeout or signal, so that only acquiring the lock can end it. */
function isPatient({ deadline, signal }: LockRequest): boolean {
  return deadline === Infinity && signal === undefined;
}

function timeLeft({ deadline }: LockRequest): number {
  return deadline === Infinity ? Infinity : deadline - clock.now();
}
