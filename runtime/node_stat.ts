import * as fs from "node:fs";
import process from "node:process";
import { fileId } from "./file_id.ts";
import { nativePath } from "./node_names.ts";
import type { FileInfo } from "./types.ts";
import { lookAgain } from "./windows_refusal.ts";

type Lookup = typeof fs.lstatSync | typeof fs.statSync;

/** What a lookup by path finds; undefined if there is nothing. */
export function infoAt(path: string, lookup: Lookup): FileInfo | undefined {
  return isWindows()
    ? lookAgain(() => found(path, lookup), codeOf)
    : found(nativePath(path), lookup);
}

function found(path: fs.PathLike, lookup: Lookup): FileInfo | undefined {
  if (!isWindows()) {
    const found = lookup(path, { throwIfNoEntry: false });
    // Since Node 22 that stands for ENOTDIR too, which is no absence.
    if (found === undefined) return lookup === fs.statSync ? statOrThrow(path) : undefined;
    if (isExact(found)) return info(found);
  }
  const exact = lookup(path, { bigint: true, throwIfNoEntry: false });
  return exact && info(exact);
}

function statOrThrow(path: fs.PathLike): FileInfo | undefined {
  try {
    return info(fs.statSync(path, { bigint: true }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

const KINDS: Partial<Record<number, FileInfo["kind"]>> = {
  [fs.constants.S_IFREG]: "file",
  [fs.constants.S_IFDIR]: "directory",
  [fs.constants.S_IFLNK]: "symlink",
};

function info(of: fs.Stats | fs.BigIntStats): FileInfo {
  const mode = Number(of.mode);
  return {
    kind: KINDS[mode & fs.constants.S_IFMT] ?? "other",
    id: fileId(of, isWindows()),
    mode: mode & 0o7777,
    uid: Number(of.uid),
    gid: Number(of.gid),
    mtime: Math.floor(Number(of.mtimeMs)),
  };
}

/** What is known of an open file. */
export function statOf(descriptor: number): FileInfo {
  if (!isWindows()) {
    const found = fs.fstatSync(descriptor);
    if (isExact(found)) return info(found);
  }
  return info(fs.fstatSync(descriptor, { bigint: true }));
}

/**
 * Whether the file's number came through whole: beyond 2^53, as on overlayfs and always on
 * Windows, two files could seem to be one. BigInts only then, since they cost twice as much.
 */
function isExact({ ino }: fs.Stats): boolean {
  return Number.isSafeInteger(ino);
}

function isWindows(): boolean {
  return process.platform === "win32";
}

function codeOf({ code }: { code?: unknown }): string | undefined {
  return typeof code === "string" ? code : undefined;
}
