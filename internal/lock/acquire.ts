import { runtime } from "../../runtime/mod.ts";
import { onAbort, throwIfAborted } from "../base/abort.ts";
import { clock } from "../base/clock.ts";
import type { Place } from "../base/linked_list.ts";
import { call, pause, type Steps } from "../base/steps.ts";
import { LockCandidate } from "./candidate.ts";
import { DeadlockError, LockTimeoutError } from "./errors.ts";
import { mustYield } from "./fairness.ts";
import { holdersOf, MAX_TRIES, replacedTooOften } from "./file.ts";
import {
  type Hold,
  isNext,
  isUnclaimed,
  joinQueue,
  leaveQueue,
  type Queue,
  type Waiter,
  watch,
  wouldDeadlock,
} from "./queue.ts";
import type { LockRequest } from "./request.ts";

/** How long a thread yields: long enough for every process that polls to poll once. */
const YIELD_MS = 2;
/** A wait that is worth frequent polls. */
const SHORT_WAIT_MS = 4;
/** A longer timeout makes setTimeout() fire immediately. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Waits for the lock. Asynchronous calls join this thread's queue before the first pause, so that
 * they are served in order. A synchronous call blocks the thread and overtakes the queue, whose
 * calls cannot continue in the meantime.
 */
export function* acquire(request: LockRequest): Steps<Hold> {
  throwIfAborted(request.signal);
  const isSync = yield* call((fs) => fs === runtime.sync);
  return yield* untilCurrent(request, isSync ? competeSync : takeTurn);
}

/** Takes the lock if it is free and no call in this thread waits for it. */
export function* tryAcquire(request: LockRequest): Steps<Hold | undefined> {
  return yield* untilCurrent(request, function* (_, candidate) {
    if (!isUnclaimed(candidate.id, request.shared)) return undefined;
    const taken = yield* candidate.tryTake();
    return taken === "busy" ? undefined : taken;
  });
}

type Attempt<T> = (request: LockRequest, candidate: LockCandidate) => Steps<T | "replaced">;

/** Attempts to take the lock until the file that was locked is the one at the path. */
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

/** Waits in this thread's queue, then for other processes. */
function* takeTurn(request: LockRequest, candidate: LockCandidate): Steps<Hold | "replaced"> {
  const { shared, deadline, signal } = request;
  const patient = deadline === Infinity && signal === undefined;
  const [queue, place] = joinQueue(candidate.id, { shared, patient, wake: () => {} });
  try {
    while (!isNext(queue, place)) {
      beforeWait(request);
      // The callback may have released the lock.
      if (isNext(queue, place)) break;
      watch(queue, request.path);
      yield () => untilWoken(request, place.value);
      throwIfAborted(signal);
    }
    return yield* compete(request, candidate, queue, place);
  } finally {
    leaveQueue(queue, place);
  }
}

/** Competes with other processes until this one gets the lock. */
function* compete(
  request: LockRequest,
  candidate: LockCandidate,
  queue: Queue,
  { value: waiter }: Place<Waiter>,
): Steps<Hold | "replaced"> {
  yield* yieldToOthers(request);
  for (const started = clock.now();;) {
    const taken = yield* candidate.tryTake();
    if (taken !== "busy") return taken;
    beforeWait(request);
    if (candidate.canWait && waiter.patient && kernelWaits < runtime.kernelWaits) {
      const taken = yield* call(() => waitInKernel(candidate, queue));
      if (taken !== "busy") return taken;
    } else yield* pauseFor(request, pollInterval(started));
  }
}

/** Blocks the thread until it gets the lock. */
function* competeSync(request: LockRequest, candidate: LockCandidate): Steps<Hold | "replaced"> {
  yield* yieldToOthers(request);
  for (const started = clock.now();;) {
    const taken = yield* candidate.tryTake();
    if (taken !== "busy") return taken;
    if (wouldDeadlock(candidate.id, request.shared)) throw new DeadlockError(request.path);
    beforeWait(request);
    yield* pauseFor(request, pollInterval(started));
  }
}

/** How many calls in this thread wait in the kernel. */
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

function* yieldToOthers(request: LockRequest): Steps<void> {
  if (mustYield(request.path) && timeLeft(request) > 0) yield* pauseFor(request, YIELD_MS);
}

/**
 * 1 ms while the wait is short, then a random interval of 2 to 8 ms. With exponential backoff, long
 * waiters would starve while newcomers poll often. With 1 ms for all, many waiters would take the
 * processor from the lock's holder.
 */
function pollInterval(started: number): number {
  return clock.now() - started < SHORT_WAIT_MS ? 1 : 2 + 6 * Math.random();
}

/** Throws if the timeout has expired. Otherwise the caller is notified that it has to wait. */
function beforeWait(request: LockRequest): void {
  const { path, timeout } = request;
  if (timeLeft(request) <= 0) {
    const holders = holdersOf(path);
    // Somebody holds it. If no process of this machine does, the holder is not known.
    throw new LockTimeoutError(path, timeout, holders?.length ? holders : null);
  }
  request.onWait();
  throwIfAborted(request.signal);
}

/** A pause that ends early when the call times out or is aborted. */
function* pauseFor(request: LockRequest, milliseconds: number): Steps<void> {
  yield* pause(Math.max(0, Math.min(milliseconds, timeLeft(request))), request.signal);
  throwIfAborted(request.signal);
}

/** Waits until the waiter is woken, the call times out, or its signal is aborted. */
function untilWoken(request: LockRequest, waiter: Waiter): Promise<void> {
  const { signal } = request;
  const leftMs = Math.max(0, timeLeft(request));
  return new Promise((resolve) => {
    waiter.wake = resolve;
    if (waiter.patient) return;
    const end = () => {
      clock.clearTimeout(timer);
      stopListening();
      resolve();
    };
    const timer = leftMs === Infinity
      ? undefined
      : clock.setTimeout(end, Math.min(leftMs, MAX_TIMER_MS));
    const stopListening = onAbort(signal, end);
    waiter.wake = end;
  });
}

function timeLeft({ deadline }: LockRequest): number {
  return deadline === Infinity ? Infinity : deadline - clock.now();
}
