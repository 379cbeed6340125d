import { performance } from "node:perf_hooks";
import { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers";

/** The parts of the clock and the timers that the library uses. */
interface Clock {
  /** Milliseconds of a clock that is never set back. */
  now(): number;
  setTimeout: (fn: () => void, milliseconds: number) => ReturnType<typeof setTimeout>;
  clearTimeout: typeof clearTimeout;
  setInterval: (fn: () => void, milliseconds: number) => ReturnType<typeof setInterval>;
  clearInterval: typeof clearInterval;
}

/**
 * The clock and the timers, captured when the library is loaded: a program's fake timers must not
 * stop a wait for another process. Our own tests replace the members.
 */
export const clock: Clock = {
  now: () => performance.now(),
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
};
