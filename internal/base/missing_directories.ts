import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";

/** Those of a directory and its parents that are missing, the innermost first. */
export function missingDirectories(directory: string): string[] {
  const missing: string[] = [];
  while (runtime.sync.stat(directory) === undefined) {
    missing.push(directory);
    const parent = dirname(directory);
    if (parent === directory) break;
    directory = parent;
  }
  return missing;
}
