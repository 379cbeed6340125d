import { runtime } from "../../runtime/mod.ts";
import { sharedState } from "../base/shared_state.ts";

/** The temporary files that are being written. One listener removes those of all copies. */
const unfinished = sharedState("unfinished/2", () => {
  const paths = new Set<string>();
  runtime.onExit(() => {
    for (const path of paths) {
      try {
        runtime.sync.remove(path);
      } catch {
        // It was not created yet, or is left for sweepTempFiles().
      }
    }
  });
  return paths;
});

/** Has a temporary file removed if the program ends before {@linkcode untrackTemp}. */
export function trackTemp(path: string): void {
  unfinished().add(path);
}

/** The file is removed already, or is not a temporary one any more. */
export function untrackTemp(path: string): void {
  unfinished().delete(path);
}
