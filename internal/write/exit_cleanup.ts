import { runtime } from "../../runtime/mod.ts";

const KEY = Symbol.for("@aperture/atomic/unfinished/2");

let paths: Set<string> | undefined;

/**
 * The temporary files that are being written: of all copies of this module in the program, an ESM
 * and a CommonJS one, so that there is one listener.
 */
function unfinished(): Set<string> {
  // dnt-shim-ignore
  const shared = globalThis as { [KEY]?: Set<string> };
  if (shared[KEY] === undefined) {
    const all = shared[KEY] = new Set<string>();
    runtime.onExit(() => {
      for (const path of all) {
        try {
          runtime.sync.remove(path);
        } catch {
          // It was not created yet, or is left for sweepTempFiles().
        }
      }
    });
  }
  return shared[KEY];
}

/** Has a temporary file removed if the program ends before {@linkcode keepAtExit}. */
export function removeAtExit(path: string): void {
  (paths ??= unfinished()).add(path);
}

/** The file is removed already, or is no temporary one any more. */
export function keepAtExit(path: string): void {
  paths?.delete(path);
}
