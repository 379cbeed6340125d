import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import { codeOf } from "./errors.ts";
import type { Steps } from "./steps.ts";

/**
 * Creates a directory and its missing parents.
 *
 * @returns Those that were missing, the innermost first.
 */
export function* makeDirectories(directory: string): Steps<string[]> {
  const missing: string[] = [];
  for (let path = directory; runtime.sync.stat(path) === undefined;) {
    missing.push(path);
    const parent = dirname(path);
    if (parent === path) break;
    path = parent;
  }
  for (const path of [...missing].reverse()) {
    try {
      yield (fs) => fs.mkdir(path);
    } catch (error) {
      // Another program may have created it in the meantime.
      if (codeOf(error) !== "EEXIST") throw error;
      if (runtime.sync.stat(path) !== undefined) continue;
      throw runtime.error("EEXIST", "Is a symbolic link to a directory that does not exist", path);
    }
  }
  return missing;
}
