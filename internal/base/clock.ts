import { performance } from "node:perf_hooks";
import * as timers from "node:timers";

type Timers = "setTimeout" | "clearTimeout" | "setInterval" | "clearInterval";

/** The clock and timer functions that the library uses. */
interface Clock extends Pick<typeof timers, Timers> {
  /** The current time on a monotonic clock, in milliseconds. */
  now(): number;
}

/**
 * The clock and the timers, captured when the library is loaded, so that a program's fake timers
 * cannot stall a wait for another process. Our own tests replace these functions.
 */
export const clock: Clock = { ...timers, now: () => performance.now() };
