import { runtime } from "../../runtime/mod.ts";
import type { Awaitable, FileSystem } from "../../runtime/types.ts";
import { onAbort } from "./abort.ts";
import { clock } from "./clock.ts";
import {
  BLOCKING_PATIENCE,
  type DescriptorPauses,
  descriptorPauses,
  lacksDescriptors,
  PATIENCE,
} from "./descriptors.ts";

/** A file call, of the form that it is handed. */
export type Call = (fs: FileSystem) => unknown;

/**
 * Policy as a sequence of file calls: written once, as a generator, and carried out by
 * {@linkcode run} or {@linkcode runSync}, which hand each call the file system of their form.
 * Others know this as a trampoline, or (redux-saga, gensync) as yielding effects.
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

/** A file call whose result is wanted: `yield*` it. To yield one as it is costs less. */
export function* call<T>(make: (fs: FileSystem) => Awaitable<T>): Steps<T> {
  return (yield make) as T;
}

/** A pause, which the signal ends early; it blocks the thread where the steps run synchronously. */
export function pause(milliseconds: number, signal?: AbortSignal): Steps<void> {
  return call((fs) =>
    fs === runtime.sync ? runtime.sleep(milliseconds) : sleep(milliseconds, signal)
  );
}

/** What is thrown into steps that somebody else has taken over. */
export class TakenOver {
  /** What the call under way returned, if it did not fail: a file that nobody else could close. */
  readonly result: unknown;

  constructor(result: unknown) {
    this.result = result;
  }
}

/**
 * Carries out `steps`, waiting for the promise of each call.
 *
 * @param signal Ends a wait for descriptors.
 * @param takenOver Asked after each wait; the steps end with a {@linkcode TakenOver} then.
 */
export async function run<T>(
  steps: Steps<T>,
  signal?: AbortSignal,
  takenOver: () => boolean = () => false,
): Promise<T> {
  let pauses: DescriptorPauses | undefined;
  let told = false;
  let step = steps.next();
  while (!step.done) {
    let result: unknown;
    let failed = false;
    try {
      result = step.value(runtime.async);
      // What is there already is not awaited: a turn of the event loop costs more than the call.
      if (isPromise(result)) result = await result;
    } catch (error) {
      [failed, result] = [true, error];
    }
    if (failed && lacksDescriptors(result)) {
      const pause = (pauses ??= descriptorPauses(PATIENCE))();
      if (pause > 0 && !signal?.aborted) {
        await sleep(pause, signal);
        if (!signal?.aborted && !takenOver()) continue;
      }
      if (signal?.aborted) result = signal.reason;
    }
    if (!told && takenOver()) {
      told = true; // Once: what the steps do to clean up must not be cut short too.
      step = steps.throw(new TakenOver(failed ? undefined : result));
    } else step = failed ? steps.throw(result) : steps.next(result);
  }
  return step.value;
}

/** Carries out `steps` without giving up the thread. */
export function runSync<T>(steps: Steps<T>): T {
  let pauses: DescriptorPauses | undefined;
  let step = steps.next();
  while (!step.done) {
    let result: unknown;
    try {
      result = step.value(runtime.sync);
    } catch (error) {
      const pause = lacksDescriptors(error)
        ? (pauses ??= descriptorPauses(BLOCKING_PATIENCE))()
        : 0;
      if (pause > 0) runtime.sleep(pause);
      else step = steps.throw(error);
      continue;
    }
    step = steps.next(result);
  }
  return step.value;
}

/** Resolves after `milliseconds`, or as soon as the signal is aborted. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clock.clearTimeout(timer);
      stopListening();
      resolve();
    };
    const timer = clock.setTimeout(end, milliseconds);
    const stopListening = onAbort(signal, end);
  });
}

/** Keeps a promise that is refused from ending the program when it fails. */
export function ignoreFailure(value: unknown): void {
  const { then } = Object(value) as { then?: unknown };
  if (typeof then === "function") Promise.resolve(value).catch(() => {});
}

/** Whether a call's result has to be waited for. */
export function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | undefined)?.then === "function";
}
