import { runtime } from "../../runtime/mod.ts";
import { isRefusal } from "../../runtime/shared/windows_refusal.ts";
import { clock } from "./clock.ts";
import { codeOf } from "./errors.ts";
import { type Call, pause, type Steps } from "./steps.ts";

/** How long to retry a rename over a target that other programs have open. */
export const RENAME_RETRY_MS = 8_000;
/** How long to retry the removal of a temporary file that a scanner has open. */
export const REMOVE_RETRY_MS = 1_000;

/**
 * With longer pauses, a writer would rarely find a moment when neither of two busy readers has the
 * file open.
 */
const MAX_PAUSE_MS = 8;

/**
 * Makes a call that Windows may refuse temporarily because a scanner, an indexer or a reader has
 * the file open. On Windows, the call is retried for up to `milliseconds`, and `check` runs before
 * each retry.
 */
export function* retryRefused(
  milliseconds: number,
  call: Call,
  check: () => void = () => {},
): Steps<void> {
  for (let end: number | undefined;;) {
    try {
      yield call;
      return;
    } catch (error) {
      const now = clock.now();
      end ??= now + (runtime.windows ? milliseconds : 0);
      if (!isRefusal(codeOf(error)) || now >= end) throw error;
    }
    yield* pause(Math.random() * MAX_PAUSE_MS);
    check();
  }
}
