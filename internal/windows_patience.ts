import { runtime } from "../runtime/mod.ts";
import type { Awaitable, FileSystem } from "../runtime/types.ts";
import { failedWith } from "./errors.ts";
import { call, pause, type Steps } from "./steps.ts";

/** Who pauses longer never finds two busy readers away, in milliseconds (ARCHITECTURE.md, "Measured"). */
const LONGEST_PAUSE = 8;
/** Windows refuses a call like this while a virus scanner, an indexer or a reader has the file open. */
const IN_USE = new Set(["EPERM", "EACCES", "EBUSY"]);

/**
 * A {@linkcode call} that Windows may refuse for a while, since others have the file open: tried
 * again there for `patience` milliseconds. `check` is called before each try but the first.
 */
export function patiently<T>(
  patience: number,
  make: (fs: FileSystem) => Awaitable<T>,
  check: () => void = () => {},
): Steps<T> {
  return runtime.windows ? again(patience, make, check) : call(make);
}

function* again<T>(
  patience: number,
  make: (fs: FileSystem) => Awaitable<T>,
  check: () => void,
): Steps<T> {
  for (let end: number | undefined;;) {
    try {
      return yield* call(make);
    } catch (error) {
      const now = performance.now();
      end ??= now + patience;
      if (!failedWith(error, IN_USE) || now >= end) throw error;
    }
    yield* pause(Math.random() * LONGEST_PAUSE);
    check();
  }
}
