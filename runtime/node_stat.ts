import * as fs from "node:fs";
import process from "node:process";
import type { FileInfo } from "./types.ts";

/** What a lookup by path finds; undefined if there is nothing. */
export function infoAt(
  path: string,
  lookup: typeof fs.lstatSync | typeof fs.statSync,
): FileInfo | undefined {
  const found = lookup(path, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  if (isExact(found)) return info(found);
  const exact = lookup(path, { bigint: true, throwIfNoEntry: false });
  return exact && info(exact);
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
    id: fileId(of),
    mode: mode & 0o7777,
    uid: Number(of.uid),
    gid: Number(of.gid),
    mtime: Math.floor(Number(of.mtimeMs)),
  };
}

/** What is known of an open file. */
export function statOf(descriptor: number): FileInfo {
  const found = fs.fstatSync(descriptor);
  return info(isExact(found) ? found : fs.fstatSync(descriptor, { bigint: true }));
}

/**
 * Whether the file's number came through whole: beyond 2^53, as on overlayfs and on Windows, two
 * files could seem to be one. BigInts only then, since they cost twice as much.
 */
function isExact({ ino }: fs.Stats): boolean {
  return Number.isSafeInteger(ino) && process.platform !== "win32";
}

/** See {@linkcode FileInfo.id}. */
export function fileId(of: { dev: number | bigint; ino: number | bigint }): string {
  // Windows tells the volume of a path and of a handle in numbers of different widths.
  return process.platform === "win32" ? `${of.ino}` : `${of.dev}:${of.ino}`;
}
