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
import { type Checks, isBoolean, isDuration, readOptions } from "./internal/base/options.ts";
import { absolutePath } from "./internal/base/paths.ts";
import {
  type AtomicWriteOptions,
  type AtomicWriteSyncOptions,
  type Durability,
  WRITE_OPTIONS,
  WRITE_SYNC_OPTIONS,
  writeRequest,
} from "./internal/write/request.ts";
import { run, runSync } from "./internal/base/steps.ts";
import { StreamWriter } from "./internal/write/stream_writer.ts";
import { sweep, type SweepRequest } from "./internal/write/sweep.ts";
import { isTempName as isTemp } from "./internal/write/temp_name.ts";
import { write, writeSync } from "./internal/write/mod.ts";

export type { AtomicWriteOptions, AtomicWriteSyncOptions, Durability };

/** A piece of content. A string is written as UTF-8, a view as the bytes that it covers. */
export type AtomicChunk = string | ArrayBuffer | ArrayBufferView;

/**
 * Content of a file, in memory: one chunk or a synchronous iterable of chunks, such as an array or
 * a generator.
 *
 * The iterable is read to its end within the call. All its strings are one text: a surrogate pair
 * may be split.
 */
export type AtomicDataSync = AtomicChunk | Iterable<AtomicChunk>;

/**
 * Content of a file: in memory, or a source that is read chunk by chunk and never held in memory as
 * a whole.
 *
 * A stream of `node:stream` is an `AsyncIterable`. Pass a stream as soon as you have it: other code
 * can read it too, by `on("data")` or `pipe()`, but if some of its content has been read before the
 * call, the call throws a `TypeError`.
 */
export type AtomicData =
  | AtomicDataSync
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<AtomicChunk>;

/** Options for {@linkcode sweepTempFiles} and {@linkcode sweepTempFilesSync}. */
export interface SweepOptions {
  /**
   * Minimum time since a temporary file was last written, in milliseconds. Choose more than the
   * longest write takes.
   *
   * With 0 all temporary files are removed, even if their times are in the future because the
   * clock was set back or is that of a file server. Use it only while nothing writes.
   *
   * @default {3_600_000}
   */
  olderThan?: number;
  /**
   * Whether to sweep the directories below the directory too. Links to directories are not
   * followed.
   *
   * @default {false}
   */
  recursive?: boolean;
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

const SWEEP_OPTIONS: Checks<SweepOptions> = { olderThan: isDuration, recursive: isBoolean };

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
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path. A relative path is resolved at
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
  path: string | URL | Uint8Array,
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
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
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
  path: string | URL | Uint8Array,
  data: AtomicDataSync,
  options?: AtomicWriteSyncOptions,
): void {
  const request = writeRequest(path, readOptions(options, WRITE_SYNC_OPTIONS));
  try {
    writeSync(request, data);
  } catch (error) {
    throw atCaller(error, atomicWriteSync);
  }
}

/**
 * A replacement of a file that is written in several calls, and published as a whole by
 * {@linkcode AtomicFile.commit}.
 *
 * Without a commit it is discarded: by {@linkcode AtomicFile.discard}, at the end of an
 * `await using` variable's scope, when a write fails, or when the signal is aborted. The file is
 * then unchanged.
 *
 * @example Usage
 * ```ts
 * import { AtomicFile } from "@aperture/atomic";
 * import { strictEqual } from "node:assert";
 * import { mkdtemp, readFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/report.csv`;
 * {
 *   await using file = await AtomicFile.open(path);
 *   await file.write("name,size\n");
 *   await file.write("mod.ts,1024\n");
 *   await file.commit();
 * }
 * strictEqual(await readFile(path, "utf8"), "name,size\nmod.ts,1024\n");
 * ```
 */
export class AtomicFile implements AsyncDisposable {
  readonly #writer: StreamWriter;

  private constructor(writer: StreamWriter) {
    if (!(writer instanceof StreamWriter)) {
      throw new TypeError("AtomicFile has no public constructor: use await AtomicFile.open(path)");
    }
    this.#writer = writer;
  }

  /**
   * Starts the replacement of a file, by creating a temporary file in its directory.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory of the file. If the
   * path is a symbolic link, they are required for the directory of the file that it points to, and
   * `--allow-read` for the link.
   *
   * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
   * @param options Durability, mode and the treatment of existing files. If `signal` is aborted, the
   * replacement is discarded.
   * @throws {TypeError} If an argument has the wrong type, or an option is unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {AtomicWriteError} If a file call fails: the runtime's own error class, with
   * its `code`, as for {@linkcode atomicWrite}.
   * @throws {DOMException} The reason of `signal` when it is aborted.
   * @returns The file to write to and commit.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * const dir = await mkdtemp(`${tmpdir()}/example-`);
   * await using file = await AtomicFile.open(`${dir}/report.csv`);
   * await file.write("name,size\n");
   * await file.commit();
   * ```
   */
  static async open(
    path: string | URL | Uint8Array,
    options?: AtomicWriteOptions,
  ): Promise<AtomicFile> {
    try {
      const request = writeRequest(path, readOptions(options, WRITE_OPTIONS));
      return new AtomicFile(await StreamWriter.open(request));
    } catch (error) {
      throw atCaller(error, AtomicFile.open);
    }
  }

  /** The absolute path of the file that is replaced. */
  get path(): string {
    return this.#writer.path;
  }

  /**
   * A stream that writes its chunks as {@linkcode AtomicFile.write} does.
   *
   * Closing it does not commit, so that a pipe that ends early publishes nothing. Aborting it
   * discards the replacement. If it was used, it must be closed before the commit; a pipe closes
   * it at its end.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * const dir = await mkdtemp(`${tmpdir()}/example-`);
   * await using file = await AtomicFile.open(`${dir}/page.html`);
   * await new Response("<h1>Hi</h1>").body!.pipeTo(file.writable);
   * await file.commit();
   * ```
   */
  get writable(): WritableStream<Uint8Array> {
    return this.#writer.stream;
  }

  /**
   * Appends a chunk. Calls that are not awaited take effect in order; their order with chunks of
   * {@linkcode AtomicFile.writable} is undefined, unless one is awaited before the other.
   *
   * Small chunks are copied and gathered: the promise resolves immediately, and if they cannot be
   * written, a later call fails. After a failure the replacement is discarded, so that nothing
   * incomplete can be committed. All strings are one text: a surrogate pair may be split.
   *
   * @param chunk The content to append. It must not be changed until the promise has settled.
   * @throws {TypeError} If the chunk has the wrong type, or the file is already committed or
   * discarded.
   * @throws {AtomicWriteError} If a file call fails.
   * @throws {DOMException} The reason of `signal` when it is aborted.
   * @returns A promise that resolves when the chunk is written or copied.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * const dir = await mkdtemp(`${tmpdir()}/example-`);
   * await using file = await AtomicFile.open(`${dir}/log.txt`);
   * for (const line of ["one", "two"]) await file.write(`${line}\n`);
   * await file.commit();
   * ```
   */
  async write(chunk: AtomicChunk): Promise<void> {
    try {
      await this.#writer.write(chunk);
    } catch (error) {
      throw atCaller(error, this.write);
    }
  }

  /**
   * Publishes the replacement: renames the temporary file over the file.
   *
   * If {@linkcode AtomicFile.writable} is being closed, the commit waits for it. If it was written
   * to, or a pipe or a writer still holds it, and nothing has closed it, the commit throws a
   * `TypeError`, and the replacement stays open.
   *
   * @throws {TypeError} If the file is already committed or discarded, or its `writable` is not
   * closed.
   * @throws {AtomicWriteError} If a file call fails, for an earlier write too. The replacement is
   * then discarded.
   * @throws {DOMException} The reason of `signal` when it is aborted.
   * @returns A promise that resolves when the file is replaced, with the requested durability.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * await using file = await AtomicFile.open(`${await mkdtemp(`${tmpdir()}/example-`)}/a.txt`);
   * await file.write("content");
   * await file.commit();
   * ```
   */
  async commit(): Promise<void> {
    try {
      await this.#writer.commit();
    } catch (error) {
      throw atCaller(error, this.commit);
    }
  }

  /**
   * Discards the replacement and removes the temporary file. It can be called at any time and
   * repeatedly; after {@linkcode AtomicFile.commit} it does nothing.
   *
   * @returns A promise that resolves when the temporary file is removed.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   * import { strictEqual } from "node:assert";
   * import { mkdtemp, readFile, writeFile } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/a.txt`;
   * await writeFile(path, "old");
   * const file = await AtomicFile.open(path);
   * await file.write("new");
   * await file.discard();
   * strictEqual(await readFile(path, "utf8"), "old");
   * ```
   */
  async discard(): Promise<void> {
    await this.#writer.discard();
  }

  /**
   * Discards the replacement unless it is committed, for `await using`.
   *
   * @returns A promise that resolves when the temporary file is removed.
   *
   * @example Usage
   * ```ts
   * import { AtomicFile } from "@aperture/atomic";
   * import { mkdtemp } from "node:fs/promises";
   * import { tmpdir } from "node:os";
   *
   * const dir = await mkdtemp(`${tmpdir()}/example-`);
   * await using file = await AtomicFile.open(`${dir}/a.txt`);
   * ```
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.discard();
  }
}

/**
 * Returns whether a file name is that of a temporary file of this library:
 * `.{name}.{16 hexadecimal digits}.tmp`. For programs that watch or list a directory.
 *
 * @param name The last component of a path.
 * @returns Whether it is the name of a temporary file.
 *
 * @example Usage
 * ```ts
 * import { isTempName } from "@aperture/atomic";
 * import { ok } from "node:assert";
 *
 * ok(isTempName(".state.json.0123456789abcdef.tmp"));
 * ok(!isTempName("state.json"));
 * ```
 */
export function isTempName(name: string): boolean {
  return isTemp(name);
}

/**
 * Removes the temporary files that killed processes left in a directory.
 *
 * It removes regular files whose name {@linkcode isTempName} accepts and that were last written
 * more than `olderThan` ago, never links or directories. Files that cannot be removed stay; with
 * `recursive`, directories below that cannot be read are skipped.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory.
 *
 * @param dir The directory: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options How old a file must be, and whether to sweep the directories below.
 * @throws {TypeError} If an argument has the wrong type, or an option is unknown.
 * @throws {RangeError} If `olderThan` is negative.
 * @throws {Error} If the directory cannot be read: the runtime's own error class, with
 * its `code`.
 * @returns The absolute paths of the removed files.
 *
 * @example Usage
 * ```ts
 * import { sweepTempFiles } from "@aperture/atomic";
 * import { deepStrictEqual, strictEqual } from "node:assert";
 * import { mkdtemp, writeFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const dir = await mkdtemp(`${tmpdir()}/example-`);
 * await writeFile(`${dir}/.state.json.0123456789abcdef.tmp`, "half");
 * deepStrictEqual(await sweepTempFiles(dir), []); // A program may still be writing it.
 * strictEqual((await sweepTempFiles(dir, { olderThan: 0 })).length, 1);
 * ```
 */
export async function sweepTempFiles(
  dir: string | URL | Uint8Array,
  options?: SweepOptions,
): Promise<string[]> {
  try {
    return await run(sweep(sweepRequest(dir, options)));
  } catch (error) {
    throw atCaller(error, sweepTempFiles);
  }
}

/**
 * Removes the temporary files that killed processes left in a directory: the synchronous form of
 * {@linkcode sweepTempFiles}.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory.
 *
 * @param dir The directory: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options How old a file must be, and whether to sweep the directories below.
 * @throws {TypeError} If an argument has the wrong type, or an option is unknown.
 * @throws {RangeError} If `olderThan` is negative.
 * @throws {Error} If the directory cannot be read: the runtime's own error class, with
 * its `code`.
 * @returns The absolute paths of the removed files.
 *
 * @example Usage
 * ```ts
 * import { sweepTempFilesSync } from "@aperture/atomic";
 * import { deepStrictEqual } from "node:assert";
 * import { mkdtempSync } from "node:fs";
 * import { tmpdir } from "node:os";
 *
 * deepStrictEqual(sweepTempFilesSync(mkdtempSync(`${tmpdir()}/example-`)), []);
 * ```
 */
export function sweepTempFilesSync(
  dir: string | URL | Uint8Array,
  options?: SweepOptions,
): string[] {
  try {
    return runSync(sweep(sweepRequest(dir, options)));
  } catch (error) {
    throw atCaller(error, sweepTempFilesSync);
  }
}

function sweepRequest(dir: string | URL | Uint8Array, options?: SweepOptions): SweepRequest {
  const { olderThan = DEFAULT_OLDER_THAN_MS, recursive = false } = readOptions(
    options,
    SWEEP_OPTIONS,
  );
  // A file may be dated in the future, so no time would do for 0.
  const before = olderThan === 0 ? Infinity : Date.now() - olderThan;
  return { dir: absolutePath(dir), before, recursive };
}
