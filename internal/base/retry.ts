import { runtime } from "../../runtime/mod.ts";
import { isRefusal } from "../../runtime/shared/windows_refusal.ts";
import { codeOf } from "./errors.ts";
import { type Call, pause, type Steps } from "./steps.ts";

/** With longer pauses, a writer rarely meets a moment without one of two busy readers. */
const MAX_PAUSE_MS = 8;

/**
 * A call that Windows may refuse for a while because a scanner, an indexer or a reader has the file
 * open. It is retried there for `milliseconds`, with `check` before each retry.
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
      const now = performance.now();
      end ??= now + (runtime.windows ? milliseconds : 0);
      if (!isRefusal(codeOf(error)) || now >= end) throw error;
    }
    yield* pause(Math.random() * MAX_PAUSE_MS);
    check();
  }
}
