import { runtime } from "../../runtime/mod.ts";
import { isRefusal } from "../../runtime/shared/windows_refusal.ts";
import { codeOf } from "./errors.ts";
import { type Call, pause, type Steps } from "./steps.ts";

/**
 * In milliseconds. Who pauses longer never finds two busy readers away (ARCHITECTURE.md, "Why each
 * number").
 */
const MAX_PAUSE_MS = 8;

/**
 * A call that Windows may refuse for a while, since a scanner, an indexer or a reader has the file
 * open: tried again there for `patience` milliseconds. `check` is called before each further try.
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
