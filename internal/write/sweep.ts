import type { DirEntry } from "../../runtime/types.ts";
import { codeOf, withContext } from "../base/errors.ts";
import { opened } from "../base/opened.ts";
import { joinPath } from "../base/paths.ts";
import { call, type Steps } from "../base/steps.ts";
import { isTempName } from "./temp_name.ts";

/**
 * Error codes for files that were removed or replaced, belong to another user, or (on Windows) are
 * open.
 */
const SKIPPED = new Set(["ENOENT", "ENOTDIR", "EPERM", "EACCES", "EBUSY"]);

/** Which temporary files to remove. */
export interface SweepRequest {
  /** Absolute. */
  readonly dir: string;
  /** Only files last written before this time are removed. In milliseconds since the epoch. */
  readonly before: number;
  readonly recursive: boolean;
}

/** Removes temporary files; returns their paths. */
export function* sweep({ dir, before, recursive }: SweepRequest): Steps<string[]> {
  const removed: string[] = [];
  const directories = [dir];
  for (const directory of directories) {
    for (const { name, isDirectory } of yield* entriesOf(directory, directory === dir)) {
      const path = joinPath(directory, name);
      if (isDirectory && recursive) directories.push(path);
      if (!isTempName(name)) continue;
      try {
        const info = yield* call((fs) => fs.lstat(path));
        if (info?.kind !== "file" || info.mtime > before) continue;
        yield (fs) => fs.remove(path);
        removed.push(path);
      } catch (error) {
        if (!SKIPPED.has(codeOf(error) ?? "")) throw withContext(error, `Cannot sweep '${dir}'`);
      }
    }
  }
  return removed;
}

function* entriesOf(directory: string, mustExist: boolean): Steps<DirEntry[]> {
  try {
    return yield* opened({ descriptors: { waitedMs: 0 } }, (fs) => fs.readDir(directory));
  } catch (error) {
    if (!mustExist && SKIPPED.has(codeOf(error) ?? "")) return [];
    throw withContext(error, `Cannot sweep '${directory}'`);
  }
}
