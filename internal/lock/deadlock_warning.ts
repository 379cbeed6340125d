import { runtime } from "../../runtime/mod.ts";
import { clock } from "../base/clock.ts";
import { sharedState } from "../base/shared_state.ts";

/** How long to wait before warning of a possible deadlock. */
export const DEADLOCK_WARNING_MS = 10_000;

/** The paths for which a warning was printed. */
const warned = sharedState("warned/3", () => new Set<string>());

/**
 * Keeps the process alive until the returned function is called. Calls `warning` every 10 seconds
 * and prints any message it returns, at most once per path.
 */
export function watchWait(path: string, warning: () => string | undefined): () => void {
  const timer = clock.setInterval(() => {
    const message = warned().has(path) ? undefined : warning();
    if (message === undefined) return;
    warned().add(path);
    runtime.warn(message);
  }, DEADLOCK_WARNING_MS);
  return () => clock.clearInterval(timer);
}
