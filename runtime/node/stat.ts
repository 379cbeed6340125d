import * as fs from "node:fs";
import { errorName } from "../shared/error_codes.ts";
import { fileId } from "../shared/file_id.ts";
import { isWindows } from "../shared/platform.ts";
import { retryLookup } from "../shared/windows_refusal.ts";
import type { FileInfo } from "../types.ts";

/**
 * libuv has no names for some errors, such as EDQUOT, which it calls "Unknown system error -122".
 */
export function codeOf({ code, errno }: { code?: unknown; errno?: unknown }): string | undefined {
  if (typeof code !== "string") return undefined;
  return code.startsWith("Unknown system error") ? errorName(-Number(errno)) ?? code : code;
}

/** The result of a lookup by path; undefined if the path does not exist. */
export function infoAt(
  path: string,
  lookup: typeof fs.lstatSync | typeof fs.statSync,
): FileInfo | undefined {
  // Creating errors is slow, so lstat() does not throw if the path does not exist. But stat() must
  // throw: since Node 22, it would otherwise return undefined even for ENOTDIR, which must be
  // reported.
  const throwIfNoEntry = lookup === fs.statSync;
  const find = () => infoOf((bigint) => lookup(path, { bigint, throwIfNoEntry }));
  try {
    return isWindows ? retryLookup(find, codeOf) : find();
  } catch (error) {
    if (codeOf(error as NodeJS.ErrnoException) === "ENOENT") return undefined;
    throw error;
  }
}

/** `fstat(2)` of an open file. */
export function statOf(descriptor: number): FileInfo {
  return infoOf((bigint) => fs.fstatSync(descriptor, { bigint }))!;
}

const KINDS: Partial<Record<number, FileInfo["kind"]>> = {
  [fs.constants.S_IFREG]: "file",
  [fs.constants.S_IFDIR]: "directory",
  [fs.constants.S_IFLNK]: "symlink",
};

/**
 * Inode numbers above 2^53, which occur on overlayfs and Windows, are rounded, so two files could
 * appear to share one. BigInts cost twice as much, so they are used only in this case.
 */
function infoOf(
  stat: (bigint: boolean) => fs.Stats | fs.BigIntStats | undefined,
): FileInfo | undefined {
  let stats = stat(isWindows);
  if (typeof stats?.ino === "number" && !Number.isSafeInteger(stats.ino)) stats = stat(true);
  if (stats === undefined) return undefined;
  const mode = Number(stats.mode);
  return {
    kind: KINDS[mode & fs.constants.S_IFMT] ?? "other",
    id: fileId(stats, isWindows),
    mode: mode & 0o7777,
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    size: Number(stats.size),
    mtime: "mtimeNs" in stats ? Number(stats.mtimeNs) / 1e6 : stats.mtimeMs,
  };
}
