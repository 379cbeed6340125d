import { performance } from "node:perf_hooks";
import { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers";

/** The clock and timer functions that the library uses. */
interface Clock {
  /** The current time on a monotonic clock, in milliseconds. */
  now(): number;
  setTimeout: (fn: () => void, milliseconds: number) => ReturnType<typeof setTimeout>;
  clearTimeout: typeof clearTimeout;
  setInterval: (fn: () => void, milliseconds: number) => ReturnType<typeof setInterval>;
  clearInterval: typeof clearInterval;
}

/**
 * The clock and the timers, captured when the library is loaded, so that a program's fake timers
 * cannot stall a wait for another process. Our own tests replace these functions.
 */
export const clock: Clock = {
  now: () => performance.now(),
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
};
