import { fromFileUrl } from "@std/path/from-file-url";
import { isAbsolute } from "@std/path/is-absolute";
import { normalize } from "@std/path/normalize";
import { runtime } from "../runtime/mod.ts";
import { kindOf } from "./options.ts";

/**
 * The absolute form of a path that a caller gave, by the working directory of now.
 * `..` stays in it: what it means after a link to a directory only the kernel knows.
 */
export function absolutePath(path: string | URL): string {
  const given: unknown = path instanceof URL ? fromFileUrl(path) : path;
  if (typeof given !== "string") {
    throw new TypeError(`Path must be a string or a file URL: received ${kindOf(given)}`);
  }
  if (given === "") throw new TypeError("Path must not be empty");
  if (given.includes("\0")) throw new TypeError("Path must not contain a NUL character");
  return resolveFrom(runtime.cwd(), given);
}

/** Where a path leads that is told in `directory`, `..` left in it. */
export function resolveFrom(directory: string, path: string): string {
  return isAbsolute(path) ? path : joinPath(directory, path);
}

/** The path of `name` in `directory`. */
export function joinPath(directory: string, name: string): string {
  const separator = runtime.windows ? "\\" : "/";
  return directory.endsWith(separator) ? directory + name : directory + separator + name;
}

/** A key under which all spellings of a path meet; it may put two files together. */
export function pathKey(path: string): string {
  const folded = /[/\\](?:\.{0,2})(?:[/\\]|$)/.test(path) ? normalize(path) : path;
  return runtime.foldsNames ? folded.normalize("NFD").toUpperCase() : folded;
}
