import { runtime } from "../../runtime/mod.ts";

/** How long a wait that may never end lasts without a warning, in milliseconds. */
export const SILENCE = 10_000;

// Of all copies of this module in the program.
const KEY = Symbol.for("@aperture/atomic/warned/1");
// dnt-shim-ignore
const holder = globalThis as { [KEY]?: boolean };

/** Whether there was a warning. */
export function hasWarned(): boolean {
  return holder[KEY] === true;
}

/** Warns once in a process's life. */
export function warn(message: string): void {
  if (hasWarned()) return;
  holder[KEY] = true;
  runtime.warn(message);
}

/** Warns of an update that is not done while others under the same lock wait for it. */
export function watchUpdate(path: string, isWaitedFor: () => boolean): () => void {
  const timer = setTimeout(() => {
    if (!isWaitedFor()) return;
    warn(
      `An update of '${path}' has waited ${SILENCE / 1_000} s for another under the same lock. ` +
        "If it was made by the function of that one, it waits for itself",
    );
  }, SILENCE);
  runtime.unref(timer);
  return () => clearTimeout(timer);
}
