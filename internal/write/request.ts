import type { Opener } from "../base/opened.ts";
import { type Checks, isBoolean, isMode, isOneOf, isSignal } from "../base/options.ts";
import { absolutePath, type PathArgument } from "../base/paths.ts";

/** What a completed write is guaranteed to survive. */
export type Durability = "none" | "consistent" | "durable";

/** Options for {@linkcode atomicWriteSync}. */
export interface AtomicWriteSyncOptions {
  /**
   * What the new content is guaranteed to survive once the write is complete.
   *
   * - `"none"`: a crash of the process. After a power cut, the file may hold the old or the new
   *   content, or be empty or torn.
   * - `"consistent"`: also a power cut, after which the file holds either the complete old content
   *   or the complete new content. The new content is synced (`fsync(2)`) before the rename. Bun on
   *   macOS is an exception: its fsync leaves data in the drive's cache.
   * - `"durable"`: like `"consistent"`, but after a power cut, the file always holds the new
   *   content. The directory is also synced after the rename, if the file system supports it.
   *
   * @default {"consistent"}
   */
  durability?: Durability;
  /**
   * Permission bits of the new file, from 0 to 0o7777. They are applied exactly; the umask is
   * ignored.
   *
   * Code that used `fs.writeFile(path, data, { mode: 0o644 })` and relied on a umask of 077 must
   * pass `0o600`. By default, a replaced file keeps its permission bits, and a new one gets `0o666`
   * minus the umask. On Windows, `mode` is ignored.
   *
   * With or without `mode`, the new file gets the old file's owner and group if the process is
   * allowed to set them. Otherwise, the group gets no more rights than others have, and set-ID bits
   * are cleared.
   */
  mode?: number;
  /**
   * Whether to fail with `EEXIST` if anything exists at the path, even a dangling link. Requires a
   * file system with hard links; on other file systems, such as FAT and exFAT, the write fails with
   * `ENOTSUP`.
   *
   * @default {false}
   */
  createNew?: boolean;
  /**
   * What to do if the path is a symbolic link: `"follow"` writes to the link's target, which may
   * not exist yet; `"replace"` replaces the link with a regular file.
   *
   * @default {"follow"}
   */
  symlinks?: "follow" | "replace";
  /**
   * Whether to create the file's directory and its parents if they are missing. On Deno, this
   * requires `--allow-read` for the innermost existing directory.
   *
   * @default {false}
   */
  parents?: boolean;
  /**
   * What to do if the file cannot be replaced because it is a mount point, such as a single file
   * mounted into a container. `"in-place"` copies the new content over it; by default, the write
   * fails with `EBUSY`. The option has no effect on Windows, which has no such mount points.
   *
   * The copy is **not atomic**: readers may see a mixture of old and new content. Before the copy
   * starts, the new content is saved as `.{name}.{16 hexadecimal digits}.kept` next to the file.
   * That file remains if the copy fails or the process is killed; its path is the error's `temp`
   * property.
   *
   * The copy does not change the mode of a mounted file: if the `mode` option differs from the
   * file's current mode, the write fails with `EBUSY`. In this case, use `chmod` first.
   */
  fallback?: "in-place";
}

/** Options for {@linkcode atomicWrite} and {@linkcode AtomicFile.open}. */
export interface AtomicWriteOptions extends AtomicWriteSyncOptions {
  /** Cancels the write when aborted, unless the rename has already begun. */
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

/** A validated write request. */
export interface WriteRequest extends Opener {
  /** Absolute. */
  readonly path: string;
  readonly durability: Durability;
  readonly mode?: number;
  /** What to do if something exists at the path: follow a link, replace a link, or always fail. */
  readonly existing: "follow" | "replace" | "refuse";
  readonly parents: boolean;
  readonly fallback?: "in-place";
  /** Throws if the lock under which the content was produced has been lost. */
  readonly verify?: (path: string) => void;
  /**
   * The path that the caller passed, which may be a link to `path`. The write joins this path's
   * queue.
   */
  readonly calledAs?: string;
}

/** Creates a write request from validated options. */
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
