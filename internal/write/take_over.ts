import { codeOf } from "../base/errors.ts";
import { trackTemp, untrackTemp } from "./exit_cleanup.ts";
import { failure, type WriteRequest } from "./request.ts";
import { call, type Steps } from "../base/steps.ts";
import type { Target } from "./target.ts";
import { discardTemp, TEMP_RETRY_MS, type TempFile } from "./temp_file.ts";
import { tempPath } from "./temp_name.ts";
import { retryRefused } from "../base/retry.ts";

/**
 * Gets a temporary file out of the way of a rename or link that is in the thread pool, which then
 * finds nothing. Returns it under its new name, or whether the rename or link has happened: if not,
 * somebody has removed the file.
 */
export function* moveAside(
  request: WriteRequest,
  temp: TempFile,
  target: Target,
): Steps<TempFile | "landed" | "gone"> {
  const aside: TempFile = { ...temp, path: tempPath(target.path), file: undefined };
  trackTemp(aside.path);
  try {
    // A link survives a rename of the file that it is made from: so remove that.
    if (request.createNew) {
      yield (fs) => fs.link(temp.path, aside.path);
      yield* retryRefused(TEMP_RETRY_MS, (fs) => fs.remove(temp.path));
    } else yield* retryRefused(TEMP_RETRY_MS, (fs) => fs.rename(temp.path, aside.path));
  } catch (error) {
    yield* discardTemp(aside);
    if (codeOf(error) !== "ENOENT") throw failure(error, request, "take over");
    untrackTemp(temp.path);
    // A link leaves the temporary file where it is.
    if (request.createNew) return "gone";
    const now = yield* call((fs) => fs.lstat(target.path));
    return now === undefined || now.id === target.info?.id ? "gone" : "landed";
  }
  untrackTemp(temp.path);
  const info = yield* call((fs) => fs.lstat(aside.path));
  aside.id = info?.id;
  aside.attributes = info && { mode: info.mode, owner: info };
  if (request.createNew) {
    const there = yield* call((fs) => fs.lstat(target.path));
    if (there !== undefined && there.id === aside.id) {
      yield* discardTemp(aside);
      return "landed";
    }
  }
  return aside;
}
