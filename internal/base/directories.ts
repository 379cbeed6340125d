import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import { codeOf } from "./errors.ts";
import { sharedState } from "./shared_state.ts";
import type { Steps } from "./steps.ts";

/** How many times to try to create a directory that other programs keep creating or removing. */
const MAX_TRIES = 10;

/**
 * Directories that this thread created and whose names may not be on disk yet. If two durable
 * writes share a new directory, the second one finds that the directory already exists, but its
 * name may not be on disk yet.
 */
const unsynced = sharedState("unsynced/1", () => new Set<string>());

/**
 * Creates a directory and its missing parents; if `sync` is true, records them for {@linkcode
 * syncNames}.
 */
export function* makeDirectories(directory: string, sync: boolean): Steps<void> {
  for (let tries = 1;; tries++) {
    let path = directory;
    try {
      for (path of missingDirectories(directory)) {
        yield (fs) => fs.mkdir(path);
        if (sync) unsynced().add(path);
      }
      return;
    } catch (error) {
      if (runtime.sync.lstat(path)?.kind === "symlink") {
        throw runtime.error(
          "EEXIST",
          "Is a symbolic link to a directory that does not exist",
          path,
        );
      }
      // Another program may have created the directory or removed its parent.
      if (!["EEXIST", "ENOENT"].includes(codeOf(error) ?? "") || tries === MAX_TRIES) throw error;
    }
  }
}

/** The missing directories in a path, outermost first. */
function missingDirectories(directory: string): string[] {
  const missing: string[] = [];
  for (let path = directory;; path = dirname(path)) {
    const info = runtime.sync.stat(path);
    if (info?.kind === "directory") return missing;
    // On Windows, using a file as a directory fails with ENOENT instead of ENOTDIR.
    if (info !== undefined) throw runtime.error("ENOTDIR", "Not a directory", path);
    missing.unshift(path);
    if (dirname(path) === path) return missing;
  }
}

/**
 * Syncs the name of a file and of each directory above it that this thread created. For each name,
 * calls `sync` with the parent directory.
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
