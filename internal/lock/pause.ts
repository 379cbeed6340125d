import { onAbort, throwIfAborted } from "../base/abort.ts";
import { descriptorPauses, lacksDescriptors, PATIENCE } from "../base/descriptors.ts";
import { LockTimeoutError } from "./errors.ts";
import { holdersOf } from "./file.ts";
import type { Waiter } from "./queue.ts";
import type { LockRequest } from "./request.ts";
import { sleep } from "../base/steps.ts";

/** A longer timeout makes setTimeout() fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Calls `open`, at once or as soon as there is a free file descriptor for it. */
export function whenOpened<T>(request: LockRequest, open: () => T): T | Promise<T> {
  try {
    return open();
  } catch (error) {
    if (!lacksDescriptors(error)) throw error;
    return whenDescriptorsAreFree(request, open);
  }
}

async function whenDescriptorsAreFree<T>(request: LockRequest, open: () => T): Promise<T> {
  for (const descriptors = descriptorPauses(PATIENCE);;) {
    try {
      return open();
    } catch (error) {
      const time = lacksDescriptors(error) ? descriptors() : 0;
      const left = timeLeft(request);
      // At the end of the timeout too, for no other holder is to blame.
      if (time === 0 || left <= 0) throw error;
      await sleep(Math.min(time, left), request.signal);
      throwIfAborted(request.signal);
    }
  }
}

/**
 * Waits for `milliseconds`, or until the waiter is woken. It is rejected when the call's timeout
 * is over or its signal is aborted.
 */
export function pause(request: LockRequest, milliseconds: number, waiter?: Waiter): Promise<void> {
  const left = timeLeft(request);
  const time = Math.min(milliseconds, left);
  if (left <= 0) return Promise.reject(timedOut(request));
  const { signal } = request;
  return new Promise((resolve, reject) => {
    if (time === Infinity && signal === undefined) {
      waiter!.wake = resolve;
      return;
    }
    const end = () => {
      clearTimeout(timer);
      stopListening();
      resolve();
    };
    const timer = time === Infinity ? undefined : setTimeout(end, Math.min(time, MAX_TIMER_MS));
    const abort = () => {
      reject(signal!.reason);
      end();
    };
    const stopListening = onAbort(signal, abort);
    if (waiter !== undefined) waiter.wake = end;
    if (signal?.aborted) abort();
  });
}

/** How long a call may still wait, in milliseconds. */
export function timeLeft({ deadline }: LockRequest): number {
  return deadline === Infinity ? Infinity : deadline - performance.now();
}

/** The error of a call whose timeout is over. */
export function timedOut({ path, timeout }: LockRequest): LockTimeoutError {
  return new LockTimeoutError(path, timeout, holdersOf(path));
}
