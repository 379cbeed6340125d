import { SEPARATOR } from "@std/path/constants";
import { fromFileUrl } from "@std/path/from-file-url";
import { isAbsolute } from "@std/path/is-absolute";
import { kindOf } from "./_options.ts";
import { runtime } from "./runtime/mod.ts";

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
  return isAbsolute(given) ? given : inside(runtime.cwd(), given);
}

/** The path of `name` in `directory`. */
export function inside(directory: string, name: string): string {
  return directory.endsWith(SEPARATOR) ? directory + name : directory + SEPARATOR + name;
}
