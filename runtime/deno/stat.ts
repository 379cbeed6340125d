import * as nodeFs from "node:fs";
import { fileId as idOf } from "../shared/file_id.ts";
import type { FileInfo } from "../types.ts";
import { errorName, windowsErrorName } from "../shared/error_codes.ts";
import { isWindows } from "../shared/platform.ts";
import { retryLookup } from "../shared/windows_refusal.ts";

/** The result of a lookup by path; undefined if the path does not exist. */
export function infoAt(
  path: string,
  lookup: (path: string) => Deno.FileInfo,
): FileInfo | undefined {
  try {
    return info(path, isWindows ? retryLookup(() => lookup(path), codeOf) : lookup(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Converts the `Deno.FileInfo` of the file at `path`. */
export function info(path: string, of: Deno.FileInfo): FileInfo {
  return {
    kind: of.isFile ? "file" : of.isDirectory ? "directory" : of.isSymlink ? "symlink" : "other",
    id: fileId(path, of),
    // On Windows, the mode may be missing; the file must not appear to be read-only.
    mode: (of.mode ?? (isWindows ? 0o666 : 0)) & 0o7777,
    uid: of.uid ?? 0,
    gid: of.gid ?? 0,
    size: of.size,
    mtime: of.mtime?.getTime() ?? 0,
  };
}

/** Deno's inode numbers are doubles: above 2^53, two files could appear to be the same. */
export function fileId(path: string, { dev, ino, isSymlink }: Deno.FileInfo): string {
  if (ino === null) return "";
  if (Number.isSafeInteger(ino)) return idOf({ dev, ino }, isWindows);
  const stat = isSymlink ? nodeFs.lstatSync : nodeFs.statSync;
  const exact = stat(path, { bigint: true, throwIfNoEntry: false });
  // The path may now lead to another file.
  if (exact === undefined || Number(exact.ino) !== ino) return `${dev}:${ino}:replaced`;
  return idOf(exact, isWindows);
}

/** Deno does not set a code for EINTR, ENFILE, ENOLCK, ENOSYS, EDQUOT, EFBIG and others. */
export function codeOf(error: { code?: unknown; message?: unknown }): string | undefined {
  // Deno reports "UNKNOWN" for ESTALE, for example.
  if (typeof error.code === "string" && error.code !== "UNKNOWN") return error.code;
  const [, number] = /\(os error (\d+)\)/.exec(String(error.message)) ?? [];
  if (number === undefined) return undefined;
  return isWindows ? windowsErrorName(Number(number)) : errorName(Number(number));
}
