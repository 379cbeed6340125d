/**
 * Replace a file so that no reader ever sees half of it.
 *
 * {@linkcode atomicWrite} writes to a temporary sibling and renames it over the
 * target: whoever opens the target has the old content or the new, whole, also
 * when the disk is full, a step fails, the process is killed or, from
 * durability `"consistent"` up, the power goes.
 *
 * ```ts
 * import { atomicWrite } from "@aperture/atomic/atomic";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await atomicWrite(`${dir}/settings.json`, JSON.stringify({ theme: "dark" }));
 * assertEquals(await Deno.readTextFile(`${dir}/settings.json`), '{"theme":"dark"}');
 * ```
 *
 * @module
 */

import { atCaller } from "./internal/base/errors.ts";
import { type Checks, isDuration, readOptions } from "./internal/base/options.ts";
import { absolutePath } from "./internal/base/paths.ts";
import { WRITE_OPTIONS, WRITE_SYNC_OPTIONS, writeRequest } from "./internal/write/request.ts";
import { run } from "./internal/base/steps.ts";
import { StreamWriter } from "./internal/write/stream_writer.ts";
import { sweep } from "./internal/write/sweep.ts";
import { isTempName as isTemp } from "./internal/write/temp_name.ts";
import { write, writeSync } from "./internal/write/mod.ts";

/**
 * What a completed write survives.
 *
 * - `"none"`: the death of the process. After a power cut the target may be the
 *   old content, the new, or an empty or torn file.
 * - `"consistent"`: a power cut leaves the old content or the new, whole. The
 *   file is synced (`fsync(2)`) before it is renamed.
 * - `"durable"`: a power cut leaves the new content. The directory is synced
 *   after the rename too, where the file system can do that.
 */
export type Durability = "none" | "consistent" | "durable";

/** Content that is in memory. A string is written as UTF-8. */
export type AtomicDataSync = string | ArrayBuffer | ArrayBufferView;

/**
 * Content of a file: in memory, or a source that is read piece by piece and never
 * held in memory as a whole.
 */
export type AtomicData =
  | AtomicDataSync
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array | string>;

/** Options for {@linkcode atomicWriteSync}. */
export interface AtomicWriteSyncOptions {
  /**
   * What the write survives once it is done.
   *
   * @default {"consistent"}
   */
  durability?: Durability;
  /**
   * Permission bits of the new file, an integer from 0 to 0o7777, not subject to
   * the umask. On Windows it means nothing.
   *
   * By default the file keeps the permission bits of the one that it replaces; a new
   * file has 0o666 less the umask. Owner and group of the file replaced are kept in
   * any case where the process may set them. Where it may not, the group gets no more
   * than others have, and set-id bits are dropped.
   */
  mode?: number;
  /**
   * Fail with `EEXIST` when there is anything at the path, a dangling link
   * included, and never replace it. The file system must have hard links.
   *
   * @default {false}
   */
  createNew?: boolean;
  /**
   * What to do when the path is a symbolic link: write the file that it points to,
   * which a dangling link has not got yet, or put a regular file in its place.
   *
   * @default {"follow"}
   */
  symlinks?: "follow" | "replace";
  /**
   * Make the directory of the file, and its parents, where they are missing.
   *
   * @default {false}
   */
  parents?: boolean;
  /**
   * What to do with a file that cannot be replaced because it is a mount point, as one
   * that is mounted into a container is: `"in-place"` copies the new content over it.
   *
   * It is then **not atomic**: readers may see a mixture. The new content is on the disk
   * before, as `.{name}.{16 hexadecimal digits}.kept` beside the file, and stays there if
   * the copy fails or the process is killed; the error's `temp` names it.
   *
   * What `mode` does not grant is taken from group and others before the copy, what it
   * adds is given after it. Who may not take it away gets `EPERM`, and nothing is copied;
   * who may not give it leaves the file with less. A copy that fails leaves only what both
   * modes grant. Who has the file open already can read on.
   *
   * By default such a write fails with `EBUSY`.
   */
  fallback?: "in-place";
}

/** Options for {@linkcode atomicWrite} and {@linkcode AtomicFile.open}. */
export interface AtomicWriteOptions extends AtomicWriteSyncOptions {
  /** Gives up the write, up to the moment of the rename. */
  signal?: AbortSignal;
}

/** Options for {@linkcode sweepTempFiles}. */
export interface SweepOptions {
  /**
   * How long ago a temporary file must have been written to last, in milliseconds.
   * Choose more than the longest write takes.
   *
   * @default {3_600_000}
   */
  olderThan?: number;
}

/**
 * What a failed write's error carries beyond what the runtime puts on it: its class
 * and `code` are those of the failed call (`Deno.errors.NotFound`, `ENOENT`).
 *
 * Errors that are not a failed call's arrive as they are, without these: a source's
 * own error, an abort reason, a permission that Deno denied.
 */
export interface AtomicWriteError extends Error {
  /** The system's name for the failure, such as `"ENOSPC"`. */
  code: string;
  /** The call that failed: `"lstat"`, `"open"`, `"write"`, `"fsync"`, `"rename"` and so on. */
  step: string;
  /** The path that was to be written. */
  target: string;
  /**
   * Whether the target has the new content already. It is true only when
   * durability is `"durable"` and the directory could not be synced.
   */
  replaced: boolean;
  /**
   * The file that has the whole of the new content, when it was being copied over the
   * target (option `fallback`) and the target may be a mixture.
   */
  temp?: string;
}

/**
 * Tells whether an error is that of a failed file call in a write, with what
 * {@linkcode AtomicWriteError} describes.
 *
 * @param error What was thrown.
 * @returns Whether it is such an error.
 *
 * @example Usage
 * ```ts
 * import { atomicWrite, isAtomicWriteError } from "@aperture/atomic";
 * import { assertEquals } from "@std/assert";
 *
 * try {
 *   await atomicWrite(`${await Deno.makeTempDir()}/missing/file`, "x");
 * } catch (error) {
 *   if (!isAtomicWriteError(error)) throw error;
 *   assertEquals([error.code, error.step, error.replaced], ["ENOENT", "open", false]);
 * }
 * ```
 */
export function isAtomicWriteError(error: unknown): error is AtomicWriteError {
  const { code, step, target, replaced } = Object(error);
  return [code, step, target].every((fact) => typeof fact === "string") &&
    typeof replaced === "boolean";
}

const DEFAULT_OLDER_THAN_MS = 3_600_000;

const SWEEP_OPTIONS: Checks<SweepOptions> = { olderThan: isDuration };

/**
 * Replaces the content of a file atomically, or creates the file.
 *
 * Readers see the old content or the new, whole. If the write fails, the target is
 * as it was and the temporary file is gone.
 *
 * Calls of one thread on one path take effect one after another: data in memory, a Blob
 * too, in the order of the calls; a stream when its source has ended. Of calls with the
 * same options that wait side by side, only the newest is written, and the others are
 * settled with it.
 *
 * The parent directory must exist, unless `parents` is true. Bytes must not be changed until
 * the promise is settled: if they are transferred, detached or resized, the write fails. A hard
 * link to the old file keeps the old content, and extended attributes and access control lists
 * are not carried over.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file; for a
 * symbolic link those for the directory of the file that it points to, and `--allow-read` for it.
 *
 * @see {@link https://man7.org/linux/man-pages/man2/rename.2.html} for the atomicity of a rename
 *
 * @param path The file, as a path or a `file:` URL. A relative path is resolved at
 * the time of the call.
 * @param data The content.
 * @param options Durability, mode and what to do with what is there.
 * @throws {TypeError} If an argument is of the wrong type, or an option unknown.
 * @throws {RangeError} If an option's value is out of range.
 * @throws {AtomicWriteError} If a file call fails: the runtime's own error class, with
 * its `code`. `EISDIR` if the target is a directory, `ENOTSUP` if it is a FIFO, a
 * socket or a device, `ELOOP` if links lead in a circle, `EEXIST` with `createNew`.
 * @throws {DOMException} The reason of `signal` when it is aborted.
 * @returns A promise that is resolved when the file is in place, as durable as asked for.
 *
 * @example Usage
 * ```ts
 * import { atomicWrite } from "@aperture/atomic";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/state.json`;
 * await atomicWrite(path, "old");
 * await atomicWrite(path, "new", { durability: "durable" });
 * assertEquals(await Deno.readTextFile(path), "new");
 * ```
 *
 * @example From a stream, in bounded memory
 * ```ts
 * import { atomicWrite } from "@aperture/atomic";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/page.html`;
 * await atomicWrite(path, new Response("<h1>Hi</h1>").body!);
 * assertEquals(await Deno.readTextFile(path), "<h1>Hi</h1>");
 * ```
 */
export async function atomicWrite(
  path: string | URL,
  data: AtomicData,
  options?: AtomicWriteOptions,
): Promise<void> {
  const request = writeRequest(path, readOptions(options, WRITE_OPTIONS));
  try {
    await write(request, data);
  } catch (error) {
    throw atCaller(error, atomicWrite);
  }
}

/**
 * Replaces the content of a file atomically, or creates the file: the synchronous
 * form of {@linkcode atomicWrite}.
 *
 * It first carries out, with synchronous calls, the calls of {@linkcode atomicWrite} on the path
 * that were made before and are not done, and so takes effect after them. A Blob that waits
 * there cannot be read synchronously: with equal options it is settled with this call instead,
 * with others, or with `createNew`, this call fails with `EBUSY`. So it does while a copy in
 * place (option `fallback`) is under way.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file; for a
 * symbolic link those for the directory of the file that it points to, and `--allow-read` for it.
 *
 * @param path The file, as a path or a `file:` URL.
 * @param data The content.
 * @param options Durability, mode and what to do with what is there.
 * @throws {TypeError} If an argument is of the wrong type, or an option unknown.
 * @throws {RangeError} If an option's value is out of range.
 * @throws {AtomicWriteError} If a file call fails: the runtime's own error class, with
 * its `code`. `EISDIR` if the target is a directory, `ENOTSUP` if it is a FIFO, a
 * socket or a device, `ELOOP` if links lead in a circle, `EEXIST` with `createNew`.
 *
 * @example Usage
 * ```ts
 * import { atomicWriteSync } from "@aperture/atomic";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${Deno.makeTempDirSync()}/state.json`;
 * atomicWriteSync(path, "{}");
 * assertEquals(Deno.readTextFileSync(path), "{}");
 * ```
 */
export function atomicWriteSync(
  path: string | URL,
  data: AtomicDataSync,
  options?: AtomicWriteSyncOptions,
): void {
  writeSync(writeRequest(path, readOptions(options, WRITE_SYNC_OPTIONS)), data);
}

/**
 * A replacement of a file that is written piece by piece and takes effect at once,
 * at {@linkcode AtomicFile.commit}.
 *
 * What is not committed is discarded: by {@linkcode AtomicFile.discard}, when an
 * `await using` variable goes out of scope, when a write fails, when the signal is
 * aborted. The target is then as it was.
 *
 * @example Usage
 * ```ts
 * import { AtomicFile } from "@aperture/atomic";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/report.csv`;
 * {
 *   await using file = await AtomicFile.open(path);
 *   await file.write("name,size\n");
 *   await file.write("mod.ts,1024\n");
 *   await file.commit();
 * }
 * assertEquals(await Deno.readTextFile(path), "name,size\nmod.ts,1024\n");
 * ```
 */
export class AtomicFile implements AsyncDisposable {
  readonly #writer: StreamWriter;
  #writable: WritableStream<Uint8Array> | undefined;

  private constructor(writer: StreamWriter) {
    this.#writer = writer;
  }

  /**
   * Begins the replacement of a file.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory of the file; for a
   * symbolic link those for the directory of the file that it points to, and `--allow-read` for it.
   *
   * @param path The file, as a path or a `file:` URL.
   * @param options Durability, mode and what to do with what is there; an aborted
   * `signal` discards the replacement.
   * @throws {TypeError} If an argument is of the wrong type, or an option unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {AtomicWriteError} If a file call fails: the runtime's own error class, with
   * its `code`, as for {@linkcode atomicWrite}.
   * @throws {DOMException} The reason of `signal` when it is aborted.
   * @returns The file to write to and commit.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   *
   * await using file = await AtomicFile.open(`${await Deno.makeTempDir()}/report.csv`);
   * await file.write("name,size\n");
   * await file.commit();
   * ```
   */
  static async open(path: string | URL, options?: AtomicWriteOptions): Promise<AtomicFile> {
    const request = writeRequest(path, readOptions(options, WRITE_OPTIONS));
    return new AtomicFile(await StreamWriter.open(request));
  }

  /** The absolute path of the file that is to be replaced. */
  get path(): string {
    return this.#writer.path;
  }

  /**
   * A stream whose chunks are written as {@linkcode AtomicFile.write} writes them.
   *
   * Closing it does not commit, so that a pipe that ends early cannot publish what it
   * has; aborting it discards.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   *
   * await using file = await AtomicFile.open(`${await Deno.makeTempDir()}/page.html`);
   * await new Response("<h1>Hi</h1>").body!.pipeTo(file.writable);
   * await file.commit();
   * ```
   */
  get writable(): WritableStream<Uint8Array> {
    return this.#writable ??= this.#writer.createWritable();
  }

  /**
   * Appends to the replacement. Calls that are not awaited take effect in order; beside chunks of
   * {@linkcode AtomicFile.writable} they have none, unless the one is awaited before the other.
   *
   * Small chunks are copied and gathered: the promise is resolved at once, and a failure to
   * write them is that of a later call. After a failure all is discarded, and so nothing
   * incomplete can be committed. All strings are one text: a surrogate pair may be split.
   *
   * @param chunk What to append. It must not be changed until the promise is settled.
   * @throws {TypeError} If the chunk is of the wrong type, or the file is committed or
   * discarded already.
   * @throws {AtomicWriteError} If a file call fails.
   * @returns A promise that is resolved when the chunk is written or copied.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   *
   * await using file = await AtomicFile.open(`${await Deno.makeTempDir()}/log.txt`);
   * for (const line of ["one", "two"]) await file.write(`${line}\n`);
   * await file.commit();
   * ```
   */
  async write(chunk: AtomicDataSync): Promise<void> {
    await this.#writer.write(chunk);
  }

  /**
   * Puts the replacement in the file's place.
   *
   * @throws {TypeError} If the file is committed or discarded already.
   * @throws {AtomicWriteError} If a file call fails, one of an earlier write included;
   * all is discarded then.
   * @throws {DOMException} The reason of `signal` when it is aborted.
   * @returns A promise that is resolved when the file is in place, as durable as asked for.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   *
   * await using file = await AtomicFile.open(`${await Deno.makeTempDir()}/a.txt`);
   * await file.write("content");
   * await file.commit();
   * ```
   */
  async commit(): Promise<void> {
    await this.#writer.commit();
  }

  /**
   * Gives the replacement up and removes the temporary file. It may be called at any
   * time, more than once; after {@linkcode AtomicFile.commit} it does nothing.
   *
   * @returns A promise that is resolved when nothing is left.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   * import { assertEquals } from "@std/assert";
   *
   * const path = `${await Deno.makeTempDir()}/a.txt`;
   * await Deno.writeTextFile(path, "old");
   * const file = await AtomicFile.open(path);
   * await file.write("new");
   * await file.discard();
   * assertEquals(await Deno.readTextFile(path), "old");
   * ```
   */
  async discard(): Promise<void> {
    await this.#writer.discard();
  }

  /**
   * {@linkcode AtomicFile.discard}, for `await using`.
   *
   * @returns A promise that is resolved when nothing is left.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   *
   * await using file = await AtomicFile.open(`${await Deno.makeTempDir()}/a.txt`);
   * ```
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.discard();
  }
}

/**
 * Tells whether a file name is one that this module gives to temporary files:
 * `.{name}.{16 hexadecimal digits}.tmp`. For programs that watch or list a directory.
 *
 * @param name The last component of a path.
 * @returns Whether it is the name of a temporary file.
 *
 * @example Usage
 * ```ts
 * import { isTempName } from "@aperture/atomic";
 * import { assert } from "@std/assert";
 *
 * assert(isTempName(".state.json.0123456789abcdef.tmp"));
 * assert(!isTempName("state.json"));
 * ```
 */
export function isTempName(name: string): boolean {
  return isTemp(name);
}

/**
 * Removes the temporary files in a directory that killed processes left behind.
 *
 * Only regular files with a name that {@linkcode isTempName} knows, last written more
 * than `olderThan` ago, are removed: no link, no directory and nothing below the
 * directory. A file that may not be removed is left where it is.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory.
 *
 * @param dir The directory, as a path or a `file:` URL.
 * @param options How old a file must be.
 * @throws {TypeError} If an argument is of the wrong type, or an option unknown.
 * @throws {RangeError} If `olderThan` is negative.
 * @throws {Error} If the directory cannot be read: the runtime's own error class, with
 * its `code`.
 * @returns The absolute paths of the files that were removed.
 *
 * @example Usage
 * ```ts
 * import { sweepTempFiles } from "@aperture/atomic";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await Deno.writeTextFile(`${dir}/.state.json.0123456789abcdef.tmp`, "half");
 * assertEquals(await sweepTempFiles(dir), []); // It may be in use.
 * assertEquals((await sweepTempFiles(dir, { olderThan: 0 })).length, 1);
 * ```
 */
export async function sweepTempFiles(
  dir: string | URL,
  options?: SweepOptions,
): Promise<string[]> {
  const path = absolutePath(dir);
  const { olderThan = DEFAULT_OLDER_THAN_MS } = readOptions(options, SWEEP_OPTIONS);
  return await run(sweep(path, Date.now() - olderThan));
}
