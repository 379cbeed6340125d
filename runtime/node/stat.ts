import * as fs from "node:fs";
import process from "node:process";
import { fileId } from "../shared/file_id.ts";
import type { FileInfo } from "../types.ts";
import { retryLookup } from "../shared/windows_refusal.ts";

/** Whether this is Windows. */
export function isWindows(): boolean {
  return process.platform === "win32";
}

type Lookup = typeof fs.lstatSync | typeof fs.statSync;

/** The result of a lookup by path; undefined if nothing is there. */
export function infoAt(path: string, lookup: Lookup): FileInfo | undefined {
  return isWindows() ? retryLookup(() => found(path, lookup), codeOf) : found(path, lookup);
}

function found(path: string, lookup: Lookup): FileInfo | undefined {
  if (!isWindows()) {
    const found = lookup(path, { throwIfNoEntry: false });
    // Since Node 22 that means ENOTDIR too, which is not absence.
    if (found === undefined) return lookup === fs.statSync ? statOrThrow(path) : undefined;
    if (isExact(found)) return new StatInfo(found);
  }
  const exact = lookup(path, { bigint: true, throwIfNoEntry: false });
  return exact && new StatInfo(exact);
}

function statOrThrow(path: string): FileInfo | undefined {
  try {
    return new StatInfo(fs.statSync(path, { bigint: true }));
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

/** Converts each field when it is read: most callers read few of them. */
class StatInfo implements FileInfo {
  readonly #stats: fs.Stats | fs.BigIntStats;

  constructor(stats: fs.Stats | fs.BigIntStats) {
    this.#stats = stats;
  }

  get kind(): FileInfo["kind"] {
    return KINDS[Number(this.#stats.mode) & fs.constants.S_IFMT] ?? "other";
  }

  get id(): string {
    return fileId(this.#stats, isWindows());
  }

  get mode(): number {
    return Number(this.#stats.mode) & 0o7777;
  }

  get uid(): number {
    return Number(this.#stats.uid);
  }

  get gid(): number {
    return Number(this.#stats.gid);
  }

  get size(): number {
    return Number(this.#stats.size);
  }

  get mtime(): number {
    return Math.floor(Number(this.#stats.mtimeMs));
  }

  get exactMtime(): number {
    const stats = this.#stats;
    return "mtimeNs" in stats ? Number(stats.mtimeNs) / 1e6 : stats.mtimeMs;
  }
}

/** `fstat(2)` of an open file. */
export function statOf(descriptor: number): FileInfo {
  if (!isWindows()) {
    const found = fs.fstatSync(descriptor);
    if (isExact(found)) return new StatInfo(found);
  }
  return new StatInfo(fs.fstatSync(descriptor, { bigint: true }));
}

/**
 * Whether the inode number is exact: beyond 2^53, as on overlayfs and always on Windows, two files
 * could seem to be one. BigInts are used only then, since they cost twice as much.
 */
function isExact({ ino }: fs.Stats): boolean {
  return Number.isSafeInteger(ino);
}

function codeOf({ code }: { code?: unknown }): string | undefined {
  return typeof code === "string" ? code : undefined;
}
