import type { Awaitable, FileSystem } from "../../runtime/types.ts";
import { throwIfAborted } from "./abort.ts";
import { clock } from "./clock.ts";
import { failedWith } from "./errors.ts";
import { pause, type Steps } from "./steps.ts";

/** How long an operation waits for free file descriptors, in total. */
const MAX_WAIT_MS = 60_000;
/**
 * The same limit for synchronous operations. It is shorter, because they block the code that could
 * close files.
 */
const MAX_SYNC_WAIT_MS = 1_000;
const MAX_PAUSE_MS = 50;

/** The error codes for running out of descriptors, per process and system-wide. */
const NO_DESCRIPTORS = new Set(["EMFILE", "ENFILE"]);

/** An operation that opens files. */
export interface Opener {
  readonly signal?: AbortSignal | undefined;
  /** When the operation times out, as a `clock.now()` time. */
  readonly deadline?: number;
  /**
   * How long the operation has waited for descriptors so far. All files that it opens share one
   * budget.
   */
  readonly descriptors: { waitedMs: number };
}

/**
 * Opens a file, retrying while the process (EMFILE) or the system (ENFILE) has no free file
 * descriptors.
 *
 * Each pause is a step, so the operation can be aborted, time out or be taken over during a pause.
 */
export function* opened<T>(opener: Opener, open: (fs: FileSystem) => Awaitable<T>): Steps<T> {
  const { signal, deadline = Infinity, descriptors } = opener;
  for (;;) {
    try {
      return (yield open) as T;
    } catch (error) {
      if (!failedWith(error, NO_DESCRIPTORS)) throw error;
      const { waitedMs } = descriptors;
      const mostMs = (yield (_, isSync) => isSync) ? MAX_SYNC_WAIT_MS : MAX_WAIT_MS;
      const started = clock.now();
      // Each pause is as long as all earlier ones together.
      const pauseMs = Math.min(Math.max(1, waitedMs), MAX_PAUSE_MS);
      const waitMs = Math.min(pauseMs, mostMs - waitedMs, deadline - started);
      // Even after the deadline, report EMFILE rather than a timeout: the lock's holder did not
      // cause the delay.
      if (waitMs <= 0) throw error;
      yield* pause(waitMs, signal);
      throwIfAborted(signal);
      // Fake timers may have stopped the clock.
      descriptors.waitedMs += Math.max(waitMs, clock.now() - started);
    }
  }
}
