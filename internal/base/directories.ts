import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import { codeOf } from "./errors.ts";
import { sharedState } from "./shared_state.ts";
import type { Steps } from "./steps.ts";

/**
 * Directories that this thread created and whose names may not be on the disk yet. Of two durable
 * writes into a new directory, the second one relies on the first one's `mkdir`.
 */
const unsynced = sharedState("unsynced/1", () => new Set<string>());

/** Creates a directory and its missing parents; `sync`: for {@linkcode syncNames}. */
export function* makeDirectories(directory: string, sync: boolean): Steps<void> {
  const missing: string[] = [];
  for (let path = directory; runtime.sync.stat(path) === undefined;) {
    missing.push(path);
    const parent = dirname(path);
    if (parent === path) break;
    path = parent;
  }
  for (const path of missing.reverse()) {
    try {
      yield (fs) => fs.mkdir(path);
      if (sync) unsynced().add(path);
    } catch (error) {
      // Another program may have created it in the meantime.
      if (codeOf(error) !== "EEXIST") throw error;
      if (runtime.sync.stat(path) !== undefined) continue;
      throw runtime.error("EEXIST", "Is a symbolic link to a directory that does not exist", path);
    }
  }
}

/**
 * Gets the name of a file onto the disk, and the names of the directories above it that this thread
 * created: each is in the directory that `sync` is called with.
 */
export function* syncNames(file: string, sync: (directory: string) => Steps<void>): Steps<void> {
  for (let path = file, parent = dirname(path); parent !== path; parent = dirname(path)) {
    if (path === file || unsynced().has(path)) {
      yield* sync(parent);
      unsynced().delete(path);
    }
    path = parent;
  }
}
