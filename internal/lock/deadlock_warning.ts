import { runtime } from "../../runtime/mod.ts";
import { clock } from "../base/clock.ts";
import { sharedState } from "../base/shared_state.ts";

/** How long to wait before warning of a possible deadlock. */
export const DEADLOCK_WARNING_MS = 10_000;

/** The paths for which a warning was printed. */
const warned = sharedState("warned/3", () => new Set<string>());

/** Prints a warning, at most once for each path. */
export function warnOnce(path: string, message: string): void {
  if (warned().has(path)) return;
  warned().add(path);
  runtime.warn(message);
}

/**
 * Keeps the process alive until the returned function is called. Used while an update waits for
 * another update under the same lock. If `isPatient` is true, also warns that the wait may never
 * end.
 */
export function watchUpdate(path: string, isPatient: boolean): () => void {
  const timer = clock.setInterval(() => {
    if (!isPatient) return;
    warnOnce(
      path,
      `An update of '${path}' has waited ${DEADLOCK_WARNING_MS / 1_000} s for another update ` +
        "under the same lock. If it was called inside the other update's 'fn', it is waiting for " +
        "itself: move the call out of 'fn'",
    );
  }, DEADLOCK_WARNING_MS);
  return () => clock.clearInterval(timer);
}
