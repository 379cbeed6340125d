import { dirname } from "@std/path/dirname";
import { isAbsolute } from "@std/path/is-absolute";
import { codeOf } from "./_errors.ts";
import { inside } from "./_paths.ts";
import { runtime } from "./runtime/mod.ts";
import { call, type Steps } from "./runtime/steps.ts";
import type { FileInfo } from "./runtime/types.ts";

/** As many links as Linux follows, path_resolution(7). */
const MAX_LINKS = 40;

/** What is at a path, links followed. */
export interface Found {
  readonly path: string;
  /** Undefined if there is nothing yet; of kind "file", or "symlink" if it was not to be followed. */
  readonly info: FileInfo | undefined;
}

/**
 * Finds the regular file that a path names or will name, and refuses what is none, or with
 * `"none"` whatever is there.
 */
export function* findTarget(
  path: string,
  allowed: "follow" | "replace" | "none",
  lstat: (path: string) => Steps<FileInfo> = lstatCall,
): Steps<Found> {
  if (path.endsWith("/") || (runtime.windows && path.endsWith("\\"))) {
    throw runtime.error("EISDIR", "Is a directory", path);
  }
  for (let links = 0;; links++) {
    let info: FileInfo | undefined;
    try {
      info = yield* lstat(path);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
    if (allowed === "none" && info !== undefined) {
      throw runtime.error("EEXIST", "File exists", path);
    }
    switch (info?.kind) {
      case "directory":
        throw runtime.error("EISDIR", "Is a directory", path);
      case "other":
        throw runtime.error("ENOTSUP", "Is a FIFO, a socket or a device", path);
      case "symlink":
        if (allowed === "follow") break;
        return { path, info };
      default:
        return { path, info };
    }
    if (links === MAX_LINKS) {
      throw runtime.error("ELOOP", "Too many levels of symbolic links", path);
    }
    const link = path;
    const to = yield* call((fs) => fs.readLink(link));
    path = isAbsolute(to) ? to : inside(dirname(link), to);
  }
}

function lstatCall(path: string): Steps<FileInfo> {
  return call((fs) => fs.lstat(path));
}
