import type { DirEntry } from "../../runtime/types.ts";
import { codeOf, withContext } from "../base/errors.ts";
import { opened } from "../base/opened.ts";
import { type Checks, isBoolean, isDuration, readOptions } from "../base/options.ts";
import { absolutePath, joinPath, type PathArgument } from "../base/paths.ts";
import { call, type Steps } from "../base/steps.ts";
import { isTempName } from "./temp_name.ts";

/**
 * Error codes for files that were removed or replaced, belong to another user, or (on Windows) are
 * open.
 */
const SKIPPED = new Set(["ENOENT", "ENOTDIR", "EPERM", "EACCES", "EBUSY"]);

const DEFAULT_OLDER_THAN_MS = 3_600_000;

/** Options for {@linkcode sweepTempFiles} and {@linkcode sweepTempFilesSync}. */
export interface SweepOptions {
  /**
   * The minimum age of the files to remove, in milliseconds since they were last written. Choose a
   * value longer than your longest write.
   *
   * 0 removes all temporary files, even those dated in the future because the clock was set back or
   * a file server's clock is ahead. Use 0 only while nothing is writing.
   *
   * @default {3_600_000}
   */
  olderThan?: number;
  /**
   * Whether to include subdirectories at any depth. Links to directories are not followed.
   *
   * @default {false}
   */
  recursive?: boolean;
}

const OPTIONS: Checks<SweepOptions> = { olderThan: isDuration, recursive: isBoolean };

/** Removes temporary files; returns their paths. */
export function* sweep(path: PathArgument, options: SweepOptions | undefined): Steps<string[]> {
  const { olderThan = DEFAULT_OLDER_THAN_MS, recursive = false } = readOptions(options, OPTIONS);
  const dir = absolutePath(path);
  // Files may be dated in the future, so 0 cannot mean "before now".
  const before = olderThan === 0 ? Infinity : Date.now() - olderThan;
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
