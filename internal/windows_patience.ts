import { runtime } from "../runtime/mod.ts";
import { failedWith } from "./errors.ts";
import { type Call, pause, type Steps } from "./steps.ts";

/** Who pauses longer never finds two busy readers away, in milliseconds (ARCHITECTURE.md, "Measured"). */
const LONGEST_PAUSE = 8;
/** Windows refuses a call like this while a virus scanner, an indexer or a reader has the file open. */
const IN_USE = new Set(["EPERM", "EACCES", "EBUSY"]);

/**
 * A call that Windows may refuse for a while, since others have the file open: tried again there
 * for `patience` milliseconds. `check` is called before each try but the first.
 */
export function* patiently(
  patience: number,
  call: Call,
  check: () => void = () => {},
): Steps<void> {
  for (let end: number | undefined;;) {
    try {
      yield call;
      return;
    } catch (error) {
      const now = performance.now();
      end ??= now + (runtime.windows ? patience : 0);
      if (!failedWith(error, IN_USE) || now >= end) throw error;
    }
    yield* pause(Math.random() * LONGEST_PAUSE);
    check();
  }
}
