import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import type { FileInfo } from "../../runtime/types.ts";
import type { Attributes } from "./attributes.ts";
import { makeDirectories } from "./directories.ts";
import { resolveFrom } from "../base/paths.ts";
import { failure, type WriteRequest } from "./request.ts";
import type { Steps } from "../base/steps.ts";

/** As many links as Linux follows, path_resolution(7). */
const MAX_LINKS = 40;
/** How often links may change while they are followed. */
const MAX_TRIES = 10;

/** What is at a path, links followed. */
export interface Found {
  readonly path: string;
  /** A file, or a symlink that was not to be followed; undefined if there is nothing yet. */
  readonly info: FileInfo | undefined;
}

/** What is to be replaced, and what its replacement has to be like. */
export interface Target extends Found {
  readonly attributes: Attributes;
  /** Directories that were made for it. */
  readonly createdDirs: readonly string[];
}

/** The call that failed, for the error's `step`. */
export type OnStep = (name: "lstat" | "stat" | "readlink" | "check") => void;

/** Looks at what is to be replaced now, and refuses what must not be. */
export function inspectTarget(request: WriteRequest): Target {
  let step = "lstat";
  let found: Found;
  try {
    const allowed = request.createNew ? "none" : request.symlinks;
    found = findTarget(request.path, allowed, (name) => step = name);
  } catch (error) {
    throw failure(error, request, step);
  }
  const { path, info } = found;
  const owner = info?.kind === "file" && !runtime.windows ? info : undefined;
  // Windows knows one bit of a mode, read-only, and refuses to replace such a file.
  const mode = runtime.windows ? undefined : request.mode ?? owner?.mode;
  return { path, info, attributes: { mode, owner }, createdDirs: [] };
}

/** Makes the directories of a target that is not there, if that is asked for. */
export function* withParents(request: WriteRequest, target: Target): Steps<Target> {
  if (!request.parents || target.info !== undefined) return target;
  return { ...target, createdDirs: yield* makeDirectories(request, dirname(target.path)) };
}

/**
 * Finds the regular file that a path names or will name, and refuses what is none, or with
 * `"none"` whatever is there. The calls are synchronous ones, which the kernel answers from memory.
 */
export function findTarget(
  path: string,
  allowed: "follow" | "replace" | "none",
  onStep: OnStep = () => {},
): Found {
  for (let tries = 1; tries <= MAX_TRIES; tries++) {
    onStep("lstat");
    const info = runtime.sync.lstat(path);
    onStep("check");
    mustNameFile(path, info);
    if (allowed === "none" && info !== undefined) {
      throw runtime.error("EEXIST", "File exists", path);
    }
    if (info?.kind !== "symlink" || allowed === "replace") return regular(path, info);
    onStep("stat");
    // By the kernel first: it may refuse to follow, as fs.protected_symlinks has it do in sticky
    // directories, where readlink(2) would lead us to a file that somebody else has chosen.
    const meant = runtime.sync.stat(path);
    const found = follow(path, onStep);
    onStep("check");
    mustNameFile(found.path, found.info);
    if (found.info?.id === meant?.id) return regular(found.path, found.info);
    // The links changed meanwhile, or lead to a file without a name (/proc/self/fd/N).
  }
  throw runtime.error("ESTALE", "Does not lead to where the system follows it to", path);
}

function follow(path: string, onStep: OnStep): Found {
  for (let links = 0;; links++) {
    onStep("lstat");
    const info = runtime.sync.lstat(path);
    if (info?.kind !== "symlink") return { path, info };
    onStep("readlink");
    if (links === MAX_LINKS) {
      throw runtime.error("ELOOP", "Too many levels of symbolic links", path);
    }
    const to = runtime.sync.readLink(path);
    path = resolveFrom(dirname(path), to);
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

/** Refuses a path that only a directory can have: with a separator or dots at its end. */
function mustNameFile(path: string, info: FileInfo | undefined): void {
  if (!(runtime.windows ? /[\\/]\.{0,2}$/ : /\/\.{0,2}$/).test(path)) return;
  throw info === undefined || info.kind === "directory"
    ? runtime.error("EISDIR", "Is a directory", path)
    : runtime.error("ENOTDIR", "Not a directory", path);
}
