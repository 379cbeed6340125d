import { sleepSync } from "./sleep.ts";

/** How often a look at a path is repeated: 23 ms in all. */
const MAX_TRIES = 6;
/** The longest pause, in milliseconds. */
const MAX_PAUSE_MS = 8;
/** What Windows refuses a call with while others have the file open, or wait for it to be gone. */
const TRANSIENT_REFUSALS = new Set(["EACCES", "EBUSY", "EPERM"]);

/** Whether it may succeed later what has failed with this code. */
export function isRefusal(code: string | undefined): boolean {
  return TRANSIENT_REFUSALS.has(code ?? "");
}

/**
 * Looks at a path, again if that is refused: one that was removed or replaced while somebody had
 * it open is "access denied" to all until it is closed.
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
