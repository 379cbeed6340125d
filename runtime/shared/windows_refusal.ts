import { sleepSync } from "./platform.ts";

/** The maximum number of lookups, with 23 ms of pauses in total. */
const MAX_TRIES = 6;
const MAX_PAUSE_MS = 8;
/** Windows error codes for a file that another program has open or that is being removed. */
const TRANSIENT_REFUSALS = new Set(["EACCES", "EBUSY", "EPERM"]);

/** Whether a call that failed with this code may succeed if retried later. */
export function isRefusal(code: string | undefined): boolean {
  return TRANSIENT_REFUSALS.has(code ?? "");
}

/**
 * Looks up a path, retrying if Windows refuses: after a file is removed or replaced while a program
 * has it open, all access to it is denied until that program closes it.
 */
export function retryLookup<T>(
  look: () => T,
  codeOf: (error: object) => string | undefined,
  sleep: (milliseconds: number) => void = sleepSync,
): T {
  for (let tries = 1, pause = 1;; tries++, pause = Math.min(pause * 2, MAX_PAUSE_MS)) {
    try {
      return look();
    } catch (error) {
      if (tries === MAX_TRIES || !isRefusal(codeOf(error as Error))) throw error;
    }
    sleep(pause);
  }
}
