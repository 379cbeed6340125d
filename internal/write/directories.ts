import { dirname } from "@std/path/dirname";
import { missingDirectories } from "../base/missing_directories.ts";
import { failedWith } from "../base/errors.ts";
import { failure, step, type WriteRequest } from "./request.ts";
import type { Steps } from "../base/steps.ts";
import { runtime } from "../../runtime/mod.ts";

/** A file system that cannot sync a directory says so like this. */
const UNSYNCABLE = new Set(["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);

/** Makes a directory and its parents; returns those that were missing. */
export function* makeDirectories(request: WriteRequest, directory: string): Steps<string[]> {
  const missing = yield* step(request, "stat", () => missingDirectories(directory));
  if (missing.length > 0) yield* step(request, "mkdir", (fs) => fs.ensureDir(directory));
  return missing;
}

/**
 * Gets a rename onto the disk: into the directory that the file is in, not one with a link to it,
 * and each directory that was made into its parent, since a new directory is itself such an entry.
 */
export function* syncDirectories(
  request: WriteRequest,
  target: string,
  createdDirs: readonly string[],
): Steps<void> {
  if (request.durability !== "durable" || runtime.windows) return;
  for (const directory of new Set([target, ...createdDirs].map((path) => dirname(path)))) {
    try {
      yield (fs) => fs.syncDir(directory);
    } catch (error) {
      if (failedWith(error, UNSYNCABLE)) continue;
      throw failure(error, request, "fsync directory", { replaced: true });
    }
  }
}
