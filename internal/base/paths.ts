import { isAbsolute } from "@std/path/is-absolute";
import { normalize } from "@std/path/normalize";
import { win32 } from "node:path";
import { fileURLToPath } from "node:url";
import { runtime } from "../../runtime/mod.ts";
import { faultOnWindows } from "./windows_names.ts";
import { kindOf, LONE_SURROGATE } from "./options.ts";

/** A file or directory, as callers pass it: a path, a `file:` URL or the UTF-8 bytes of a path. */
export type PathArgument = string | URL | Uint8Array;

/** Whether this platform uses Windows path syntax. */
const WINDOWS_SYNTAX: boolean = isAbsolute("C:\\");

/**
 * The absolute form of a path, resolved against the current working directory.
 *
 * `..` is kept, because only the kernel knows where `..` leads if it follows a link to a directory.
 * Windows resolves `..` before it opens a path, so on Windows this function does the same.
 */
export function absolutePath(path: PathArgument): string {
  const given = textOf(path);
  if (given === "") throw new TypeError("Path must not be empty");
  if (given.includes("\0")) throw new TypeError("Path must not contain a NUL character");
  if (LONE_SURROGATE.test(given)) {
    throw new TypeError(`Path must be well-formed Unicode: received ${JSON.stringify(given)}`);
  }
  const absolute = isAbsolute(given) && !WINDOWS_SYNTAX ? given : resolveFrom(runtime.cwd(), given);
  if (runtime.windows) checkNames(absolute);
  return absolute;
}

/**
 * URLs are recognized by their `href`, since a URL from another realm is not an instance of this
 * realm's class.
 */
function textOf(path: unknown): string {
  if (typeof path === "string") {
    // This is almost certainly the `href` of a URL, not a path in a directory named "file:".
    if (!/^file:\//i.test(path)) return path;
    throw new TypeError(`Path must not be a URL string: pass new URL("${path}")`);
  }
  if (ArrayBuffer.isView(path)) return textOfBytes(path);
  const href: unknown = typeof path === "object" ? (path as { href?: unknown } | null)?.href : path;
  if (typeof path === "object" && typeof href === "string") return pathOfUrl(href);
  throw new TypeError(
    `Path must be a string, a file URL or the bytes of a path: received ${kindOf(path)}`,
  );
}

function pathOfUrl(href: string): string {
  try {
    decodeURI(href); // Bun does not check percent-encoding.
    return fileURLToPath(href);
  } catch (cause) {
    throw new TypeError(`Invalid path '${href}': ${(cause as Error).message}`, { cause });
  }
}

function textOfBytes(bytes: ArrayBufferView): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new TypeError("Path must be valid UTF-8: received invalid bytes", { cause });
  }
}

/**
 * Resolves `path` against `directory`, an absolute path, the way the kernel resolves the target of
 * a link in that directory.
 */
export function resolveFrom(
  directory: string,
  path: string,
  windows: boolean = WINDOWS_SYNTAX,
): string {
  if (!windows) {
    if (isAbsolute(path)) return path;
    return path === "." ? directory : joinPath(directory, path.replace(/^(?:\.\/+)+/, ""));
  }
  // Windows takes a path with the prefix \\?\ literally, including its dots.
  if (/^[\\/]{2}\?[\\/]/.test(path)) return path;
  const [drive = ""] = /^[a-z]:(?![\\/])/i.exec(path) ?? [];
  const isOwn = directory.toUpperCase().startsWith(drive.toUpperCase());
  // Each drive has its own working directory, but the runtimes do not report it, so use the drive's
  // root.
  const resolved = win32.resolve(isOwn ? directory : `${drive}\\`, path);
  return /[\\/]$/.test(path) && !resolved.endsWith("\\") ? `${resolved}\\` : resolved;
}

function checkNames(path: string): void {
  const { root } = win32.parse(path);
  // After the prefix \\?\, Windows takes names literally.
  if (/^[\\/]{2}\?/.test(root)) return;
  for (const name of path.slice(root.length).split(/[\\/]/)) {
    const fault = /^\.{0,2}$/.test(name) ? undefined : faultOnWindows(name);
    if (fault !== undefined) throw new TypeError(`Invalid path '${path}': '${name}' ${fault}`);
  }
}

/** The path of `name` in `directory`. */
export function joinPath(directory: string, name: string): string {
  const separator = WINDOWS_SYNTAX ? "\\" : "/";
  return directory.endsWith(separator) ? directory + name : directory + separator + name;
}

/**
 * A key shared by all spellings of a path. If two files happen to share a key, calls for them
 * merely wait for each other.
 */
export function pathKey(path: string): string {
  const folded = /[/\\]\.{0,2}(?:[/\\]|$)/.test(path) ? normalize(path) : path;
  // Use upper case, since lowercasing would keep σ and ς apart. Use NFD, since APFS treats composed
  // and decomposed accents as equal.
  return runtime.foldsNames ? folded.normalize("NFD").toUpperCase() : folded;
}
