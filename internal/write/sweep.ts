import { codeOf } from "../base/errors.ts";
import { joinPath } from "../base/paths.ts";
import { call, type Steps } from "../base/steps.ts";
import { isTempName } from "./temp_name.ts";

/** Another sweep or the writer has removed it, it is another user's, or it is open on Windows. */
const PASSED_OVER = new Set(["ENOENT", "EPERM", "EACCES", "EBUSY"]);

/** Removes the temporary files in a directory that were last written before a time; their paths. */
export function* sweep(dir: string, before: number): Steps<string[]> {
  const removed: string[] = [];
  for (const name of yield* call((fs) => fs.readDir(dir))) {
    if (!isTempName(name)) continue;
    const path = joinPath(dir, name);
    try {
      const info = yield* call((fs) => fs.lstat(path));
      if (info?.kind !== "file" || info.mtime > before) continue;
      yield (fs) => fs.remove(path);
      removed.push(path);
    } catch (error) {
      if (!PASSED_OVER.has(codeOf(error) ?? "")) throw error;
    }
  }
  return removed;
}
