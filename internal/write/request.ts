import type { Opener } from "../base/opened.ts";
import { type Checks, isBoolean, isMode, isOneOf, isSignal } from "../base/options.ts";
import { absolutePath, type PathArgument } from "../base/paths.ts";

/** What a completed write survives. */
export type Durability = "none" | "consistent" | "durable";

/** Options for {@linkcode atomicWriteSync}. */
export interface AtomicWriteSyncOptions {
  /**
   * What the new content survives once the write is complete.
   *
   * - `"none"`: a crash of the process. After a power cut the file may have the old or the new
   *   content, or be empty or torn.
   * - `"consistent"`: also a power cut, after which the file has either the complete old content or
   *   the complete new content. The new content is synced (`fsync(2)`) before the rename. Bun on
   *   macOS is an exception: its fsync leaves data in the drive's cache.
   * - `"durable"`: like `"consistent"`, but the file has the new content after a power cut. The
   *   directory is also synced after the rename, where the file system supports it.
   *
   * @default {"consistent"}
   */
  durability?: Durability;
  /**
   * Permission bits of the new file, from 0 to 0o7777. They are exact: the umask is ignored.
   *
   * Code that used `fs.writeFile(path, data, { mode: 0o644 })` and relied on a umask of 077 must
   * pass `0o600`. By default, a file that is replaced keeps its permission bits, and a new one gets
   * `0o666` minus the umask. On Windows, `mode` is ignored.
   *
   * In either case, a replaced file keeps its owner and group if the process may set them. Otherwise
   * the group gets no more rights than others have, and set-id bits are dropped.
   */
  mode?: number;
  /**
   * Fail with `EEXIST` if anything exists at the path, even a dangling link. Requires a file system
   * with hard links, and fails with `ENOTSUP` on others, such as FAT and exFAT.
   *
   * @default {false}
   */
  createNew?: boolean;
  /**
   * What to do if the path is a symbolic link: `"follow"` writes to the file that it points to, which
   * may not exist yet; `"replace"` replaces the link with a regular file.
   *
   * @default {"follow"}
   */
  symlinks?: "follow" | "replace";
  /**
   * Create the file's directory and its parents if they are missing. On Deno, this requires
   * `--allow-read` for the innermost directory that exists.
   *
   * @default {false}
   */
  parents?: boolean;
  /**
   * What to do if the file cannot be replaced because it is a mount point, such as a single file
   * that is mounted into a container. `"in-place"` copies the new content over it; by default the
   * write fails with `EBUSY`. The option has no effect on Windows, which has no such mounts.
   *
   * The copy is **not atomic**: readers may see a mixture of old and new content. Before it starts,
   * the new content is saved as `.{name}.{16 hexadecimal digits}.kept` next to the file. That file
   * remains if the copy fails or the process is killed; the error's `temp` is its path.
   *
   * The copy does not change the mode of a mounted file: if `mode` differs from it, the write fails
   * with `EBUSY`. Use `chmod` first.
   */
  fallback?: "in-place";
}

/** Options for {@linkcode atomicWrite} and {@linkcode AtomicFile.open}. */
export interface AtomicWriteOptions extends AtomicWriteSyncOptions {
  /** Cancels the write when it is aborted, up to the rename. */
  signal?: AbortSignal;
}

/** Checks the options of a synchronous write. */
export const WRITE_SYNC_OPTIONS: Checks<AtomicWriteSyncOptions> = {
  durability: isOneOf("none", "consistent", "durable"),
  mode: isMode,
  createNew: isBoolean,
  symlinks: isOneOf("follow", "replace"),
  parents: isBoolean,
  fallback: isOneOf("in-place"),
};

/** Checks the options of a write. */
export const WRITE_OPTIONS: Checks<AtomicWriteOptions> = {
  ...WRITE_SYNC_OPTIONS,
  signal: isSignal,
};

/** A validated call to write. */
export interface WriteRequest extends Opener {
  /** Absolute. */
  readonly path: string;
  readonly durability: Durability;
  readonly mode?: number;
  /** What to do with what is at the path: a link is followed or replaced; anything is refused. */
  readonly existing: "follow" | "replace" | "refuse";
  readonly parents: boolean;
  readonly fallback?: "in-place";
  /** Throws if the lock under which the content was made has been lost. */
  readonly verify?: (path: string) => void;
  /** The path as the caller gave it, whose queue the write joins: it may be a link to `path`. */
  readonly calledAs?: string;
}

/** The request of a call, from options that were read. */
export function writeRequest(path: PathArgument, options: AtomicWriteOptions): WriteRequest {
  const { createNew = false, symlinks = "follow", ...others } = options;
  if (createNew && options.fallback !== undefined) {
    throw new RangeError("'fallback' and 'createNew' cannot be combined");
  }
  return {
    durability: "consistent",
    parents: false,
    ...others,
    path: absolutePath(path),
    existing: createNew ? "refuse" : symlinks,
    descriptors: { waitedMs: 0 },
  };
}
