import { codeOf } from "../_errors.ts";
import { runtime } from "./mod.ts";
import type { Awaitable, FileSystem } from "./types.ts";

type Call = (fs: FileSystem) => unknown;

/**
 * Policy as a sequence of file calls: written once, as a generator, and carried
 * out by {@linkcode run} or {@linkcode runSync}.
 */
export type Steps<T> = Generator<Call, T, unknown>;

/** One file call: `yield*` it for its result, or to have its error thrown. */
export function* call<T>(make: (fs: FileSystem) => Awaitable<T>): Steps<T> {
  return (yield make) as T;
}

/** Carries out `steps`, waiting for the promise of each call. */
export async function run<T>(steps: Steps<T>): Promise<T> {
  const descriptors = patience();
  let step = steps.next();
  while (!step.done) {
    let result: unknown;
    try {
      result = await step.value(runtime.async);
    } catch (error) {
      const pause = descriptors.after(error);
      if (pause > 0) await runtime.async.sleep(pause);
      else step = steps.throw(error);
      continue;
    }
    step = steps.next(result);
  }
  return step.value;
}

/** Carries out `steps` without giving up the thread. */
export function runSync<T>(steps: Steps<T>): T {
  const descriptors = patience(1_000);
  let step = steps.next();
  while (!step.done) {
    let result: unknown;
    try {
      result = step.value(runtime.sync);
    } catch (error) {
      const pause = descriptors.after(error);
      if (pause > 0) runtime.sync.sleep(pause);
      else step = steps.throw(error);
      continue;
    }
    step = steps.next(result);
  }
  return step.value;
}

/**
 * How long to pause before a call is made again that found no free file
 * descriptor, in the process (EMFILE) or the system (ENFILE): 0 when it failed
 * otherwise, or when `most` milliseconds have been waited in all.
 */
export function patience(most = 60_000): { after(error: unknown): number } {
  let pause = 1;
  let waited = 0;
  return {
    after(error) {
      const code = codeOf(error);
      if ((code !== "EMFILE" && code !== "ENFILE") || waited >= most) return 0;
      waited += pause;
      return pause = Math.min(pause * 2, 50);
    },
  };
}
