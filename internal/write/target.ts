import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import type { FileInfo } from "../../runtime/types.ts";
import type { Attributes } from "./attributes.ts";
import { makeDirectories } from "../base/directories.ts";
import { resolveFrom } from "../base/paths.ts";
import { failure } from "./errors.ts";
import type { WriteRequest } from "./request.ts";
import type { Steps } from "../base/steps.ts";

/** The same limit as on Linux; see path_resolution(7). */
const MAX_LINKS = 40;
/** The maximum number of attempts to follow links that keep changing. */
const MAX_TRIES = 10;

/** What is at a path, after following links. */
export interface Found {
  readonly path: string;
  /** A file, or a link to be replaced; undefined if nothing is there yet. */
  readonly info: FileInfo | undefined;
}

/** The file or link to replace, and the attributes of its replacement. */
export interface Target extends Found {
  readonly attributes: Attributes;
}

/** Inspects the target and creates its directory if requested. */
export function* prepareTarget(request: WriteRequest): Steps<Target> {
  let step = "inspect";
  try {
    const { path, info } = findTarget(request.path, request.existing);
    const owner = info?.kind === "file" && !runtime.windows ? info : undefined;
    // Windows has only one mode bit, read-only, and refuses to replace a read-only file.
    const mode = runtime.windows ? undefined : request.mode ?? owner?.mode;
    step = "mkdir";
    if (request.parents && info === undefined) {
      yield* makeDirectories(dirname(path), request.durability === "durable");
    }
    return { path, info, attributes: { mode, owner } };
  } catch (error) {
    throw failure(error, request, step);
  }
}

/**
 * Finds the regular file that a path refers to, even if it does not exist yet. Throws if anything
 * else exists there or, with `"refuse"`, if anything exists there at all. The calls are
 * synchronous, since the kernel answers them from memory.
 */
export function findTarget(path: string, existing: WriteRequest["existing"]): Found {
  for (let tries = 1; tries <= MAX_TRIES; tries++) {
    const info = runtime.sync.lstat(path);
    mustNameFile(path, info);
    if (existing === "refuse" && info !== undefined) {
      throw runtime.error("EEXIST", "File exists", path);
    }
    if (info?.kind !== "symlink" || existing === "replace") return regular(path, info);
    // First let the kernel follow the link, because it may refuse: in sticky directories,
    // fs.protected_symlinks forbids following another user's link, and readlink(2) would not reveal
    // that.
    const meant = runtime.sync.stat(path);
    const found = follow(path);
    mustNameFile(found.path, found.info);
    if (found.info?.id === meant?.id) return regular(found.path, found.info);
    // The links changed in the meantime, or lead to a file without a name (/proc/self/fd/N).
  }
  throw runtime.error(
    "ESTALE",
    "A symbolic link keeps changing, or leads to a file that has no path",
    path,
  );
}

function follow(path: string): Found {
  for (let links = 0;; links++) {
    const info = runtime.sync.lstat(path);
    // After too many links, this result differs from the kernel's, so both lookups are repeated.
    if (info?.kind !== "symlink" || links === MAX_LINKS) return { path, info };
    path = resolveFrom(dirname(path), runtime.sync.readLink(path));
  }
}

function regular(path: string, info: FileInfo | undefined): Found {
  switch (info?.kind) {
    case "directory":
      throw runtime.error("EISDIR", "Is a directory", path);
    case "other":
      throw runtime.error("ENOTSUP", "Is a FIFO, a socket or a device", path);
  }
  return { path, info };
}

/** Throws if a path can only refer to a directory, because it ends with a separator or dots. */
function mustNameFile(path: string, info: FileInfo | undefined): void {
  if (!(runtime.windows ? /[\\/]\.{0,2}$/ : /\/\.{0,2}$/).test(path)) return;
  throw info === undefined || info.kind === "directory"
    ? runtime.error("EISDIR", "Is a directory", path)
    : runtime.error("ENOTDIR", "Not a directory", path);
}
