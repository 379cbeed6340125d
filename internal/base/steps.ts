import { runtime } from "../../runtime/mod.ts";
import type { Awaitable, FileSystem } from "../../runtime/types.ts";
import { onAbort } from "./abort.ts";
import { clock } from "./clock.ts";

/**
 * A function that makes a file call, using the asynchronous or synchronous file system passed to
 * it.
 */
export type Call = (fs: FileSystem, isSync: boolean) => unknown;

/**
 * An operation as a sequence of file calls, written once as a generator. {@linkcode run} and
 * {@linkcode runSync} execute it, passing each call the asynchronous or the synchronous file
 * system. The pattern is also known as a trampoline or, in redux-saga and gensync, as yielding
 * effects.
 *
 * ```ts ignore
 * function* move(from: string, to: string): Steps<number> {
 *   yield (fs) => fs.rename(from, to);
 *   const { length } = yield* call((fs) => fs.readFile(to));
 *   return length;
 * }
 * await run(move("a", "b")); // or: runSync(move("a", "b"))
 * ```
 */
export type Steps<T> = Generator<Call, T, unknown>;

/**
 * Makes a call and returns its result; use it with `yield*`. If the result is not needed, `yield`
 * the call itself, which is cheaper.
 */
export function* call<T>(make: (fs: FileSystem, isSync: boolean) => Awaitable<T>): Steps<T> {
  return (yield make) as T;
}

/**
 * Waits, blocking the thread if the steps run synchronously. Aborting the signal ends the wait
 * early.
 */
export function pause(milliseconds: number, signal?: AbortSignal): Steps<void> {
  return call((_, isSync) => isSync ? runtime.sleep(milliseconds) : sleep(milliseconds, signal));
}

/** Executes `steps`, awaiting each call that returns a promise. */
export async function run<T>(steps: Steps<T>): Promise<T> {
  let step = steps.next();
  while (!step.done) {
    let result: unknown;
    try {
      result = step.value(runtime.async, false);
      // Awaiting a plain value would defer to the microtask queue, which costs more than the call.
      if (isPromise(result)) result = await result;
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(result);
  }
  return step.value;
}

/** Executes `steps` without yielding to the event loop. */
export function runSync<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (!step.done) {
    let result: unknown;
    try {
      result = step.value(runtime.sync, true);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(result);
  }
  return step.value;
}

/** The longest delay that setTimeout() supports; with a longer delay, it fires immediately. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Resolves after `milliseconds`, which can be Infinity, or as soon as the signal is aborted or the
 * function passed to `expose` is called.
 */
export function sleep(
  milliseconds: number,
  signal?: AbortSignal,
  expose: (wake: () => void) => void = () => {},
): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clock.clearTimeout(timer);
      stopListening();
      resolve();
    };
    const timer = milliseconds === Infinity
      ? undefined
      : clock.setTimeout(end, Math.max(0, Math.min(milliseconds, MAX_TIMER_MS)));
    const stopListening = onAbort(signal, end);
    expose(end);
  });
}

/**
 * Ignores the rejection of a promise received where none is accepted, so that it cannot crash the
 * program.
 */
export function ignoreFailure(value: unknown): void {
  if (isPromise(value)) Promise.resolve(value).catch(() => {});
}

/** Whether a call's result must be awaited. */
export function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}
