import { isAbsolute } from "@std/path/is-absolute";
import { normalize } from "@std/path/normalize";
import { win32 } from "node:path";
import { runtime } from "../../runtime/mod.ts";
import { fileUrlPath } from "./file_url.ts";
import { faultOnWindows } from "./windows_names.ts";
import { kindOf } from "./options.ts";

/** Whether paths here are written as Windows does. */
const WINDOWS_SYNTAX: boolean = isAbsolute("C:\\");

/**
 * The absolute form of a path that a caller gave, by the working directory of now.
 * `..` stays in it: what it means after a link to a directory only the kernel knows.
 * Not so on Windows, which folds it before it looks.
 */
export function absolutePath(path: string | URL): string {
  const given = textOf(path);
  if (given === "") throw new TypeError("Path must not be empty");
  if (given.includes("\0")) throw new TypeError("Path must not contain a NUL character");
  const absolute = isAbsolute(given) && !WINDOWS_SYNTAX ? given : resolveFrom(runtime.cwd(), given);
  if (runtime.windows) checkNames(absolute);
  return absolute;
}

/** A URL is known by its `href`: that of another realm, a test runner's, is no instance of ours. */
function textOf(path: unknown): string {
  if (typeof path === "string") return path;
  const href: unknown = typeof path === "object" ? (path as { href?: unknown } | null)?.href : path;
  if (typeof path === "object" && typeof href === "string") {
    return fileUrlPath(href, WINDOWS_SYNTAX);
  }
  throw new TypeError(`Path must be a string or a file URL: received ${kindOf(path)}`);
}

/** Where `path` leads from `directory`, an absolute path: what a symbolic link there means. */
export function resolveFrom(
  directory: string,
  path: string,
  windows: boolean = WINDOWS_SYNTAX,
): string {
  if (!windows) return isAbsolute(path) ? path : joinPath(directory, path);
  // Taken literally, dots and all.
  if (/^[\\/]{2}\?[\\/]/.test(path)) return path;
  const [drive] = /^[a-z]:(?![\\/])/i.exec(path) ?? [];
  const own = drive === undefined || directory.toUpperCase().startsWith(drive.toUpperCase());
  // Each drive has a working directory of its own.
  const resolved = win32.resolve(own ? directory : runtime.cwdOf(drive) ?? `${drive}\\`, path);
  return /[\\/]$/.test(path) && !resolved.endsWith("\\") ? `${resolved}\\` : resolved;
}

function checkNames(path: string): void {
  const { root } = win32.parse(path);
  // Of \\?\ the caller has asked for names as they stand.
  if (/^[\\/]{2}\?/.test(root)) return;
  for (const name of path.slice(root.length).split(/[\\/]/)) {
    const fault = /^\.{0,2}$/.test(name) ? undefined : faultOnWindows(name);
    if (fault !== undefined) throw new TypeError(`Path '${path}' is refused: '${name}' ${fault}`);
  }
}

/** The path of `name` in `directory`. */
export function joinPath(directory: string, name: string): string {
  const separator = WINDOWS_SYNTAX ? "\\" : "/";
  return directory.endsWith(separator) ? directory + name : directory + separator + name;
}

/**
 * A key under which all spellings of a path meet. It may put two files together, which then
 * merely wait for each other.
 */
export function pathKey(path: string): string {
  const folded = /[/\\]\.{0,2}(?:[/\\]|$)/.test(path) ? normalize(path) : path;
  // Lower case would tell σ from ς. NFD, since APFS takes both forms of an accent for one.
  return runtime.foldsNames ? folded.normalize("NFD").toUpperCase() : folded;
}
