import { runtime } from "../../runtime/mod.ts";
import { sharedState } from "../base/shared_state.ts";

/** How long a wait that may never end lasts without a warning, in milliseconds. */
export const DEADLOCK_WARNING_MS = 10_000;

const state = sharedState("warned/2", () => ({ warned: false }));

/** Whether there was a warning. */
export function hasWarned(): boolean {
  return state().warned;
}

/** Warns once in a process's life. */
export function warn(message: string): void {
  if (hasWarned()) return;
  state().warned = true;
  runtime.warn(message);
}

/** Warns of an update that is not done while others under the same lock wait for it. */
export function watchUpdate(path: string, isWaitedFor: () => boolean): () => void {
  const timer = setTimeout(() => {
    if (!isWaitedFor()) return;
    warn(
      `An update of '${path}' has waited ${
        DEADLOCK_WARNING_MS / 1_000
      } s for another under the same lock. ` +
        "If it was made by the function of that one, it waits for itself",
    );
  }, DEADLOCK_WARNING_MS);
  runtime.unref(timer);
  return () => clearTimeout(timer);
}
