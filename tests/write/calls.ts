/** Helpers for tests that make several calls for the same path. */
import * as fs from "node:fs";
import { content, numberOf } from "../support/content.ts";
import { intercepted } from "../support/runtime.ts";

/**
 * Content that takes so long to write that a later call would finish first if nothing enforced the
 * order.
 */
export const slow = (number: number): Uint8Array => content(number, 3_000_000);
/** Content that is written quickly. */
export const quick = (number: number): Uint8Array => content(number, 10);
/** Returns the number in a file's content. */
export const numberIn = (file: string): number => numberOf(fs.readFileSync(file));

/** Returns `"ok"` or the error code for each call. */
export async function outcomes(calls: Promise<unknown>[]): Promise<string[]> {
  return (await Promise.allSettled(calls)).map((result) =>
    result.status === "fulfilled" ? "ok" : result.reason.code ?? result.reason.name
  );
}

/** Marks a call that is awaited later, so that its rejection is not reported as unhandled. */
export function begun<T>(call: Promise<T>): Promise<T> {
  call.catch(() => {});
  return call;
}

/** Returns a stream that ends when `finish` is called. */
export function held(text: string): { source: AsyncIterable<string>; finish: () => void } {
  let finish!: () => void;
  const finished = new Promise<void>((resolve) => finish = resolve);
  return {
    finish,
    source: (async function* () {
      yield text;
      await finished;
    })(),
  };
}

/**
 * Calls `write`, and calls `sync` partway through it: before the asynchronous runtime call with the
 * index `at`, or once that call is in flight. Returns the number of asynchronous runtime calls.
 */
export async function during(
  at: number,
  isInFlight: boolean,
  write: () => Promise<unknown>,
  sync: () => void,
): Promise<number> {
  let index = 0;
  let done: Promise<void> | undefined;
  const calls = await intercepted(({ form }) => {
    if (form !== "async" || index++ !== at) return;
    if (isInFlight) done = begun(Promise.resolve().then(sync));
    else sync();
  }, async () => {
    await write();
    await done;
  });
  return calls.filter(({ form }) => form === "async").length;
}
