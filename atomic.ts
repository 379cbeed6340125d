/**
 * Replace files atomically, so that readers never see a partial file.
 *
 * {@linkcode atomicWrite} writes to a temporary file next to the target and renames it over the
 * target. Programs that open the target get either the old content or the new content, even if the
 * disk fills up, a system call fails, the process is killed or, with durability `"consistent"` or
 * `"durable"`, the power fails.
 *
 * ```ts
 * import { atomicWrite } from "@aperture/atomic/atomic";
 * import assert from "node:assert/strict";
 * import { mkdtemp, readFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/settings.json`;
 * await atomicWrite(path, JSON.stringify({ theme: "dark" }));
 * assert.equal(await readFile(path, "utf8"), '{"theme":"dark"}');
 * ```
 *
 * @module
 */

import { atCaller, atCallerSync } from "./internal/base/errors.ts";
import { readOptions } from "./internal/base/options.ts";
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
import { sweep, type SweepOptions } from "./internal/write/sweep.ts";
import { write, writeSync } from "./internal/write/mod.ts";

export { isTempName } from "./internal/write/temp_name.ts";
export type { AtomicWriteOptions, AtomicWriteSyncOptions, Durability, SweepOptions };

/**
 * One piece of content. Strings are written as UTF-8. For a view, only the bytes it covers are
 * written.
 */
export type AtomicChunk = string | ArrayBuffer | ArrayBufferView;

/**
 * In-memory content for a file: one chunk, or a synchronous iterable of chunks such as an array or
 * a generator.
 *
 * The iterable is consumed during the call. Its strings are encoded as one continuous text, so a
 * surrogate pair may be split across two chunks.
 */
export type AtomicDataSync = AtomicChunk | Iterable<AtomicChunk>;

/**
 * Content for a file: data in memory, a Blob, a stream or an async iterable. Streams and async
 * iterables are read chunk by chunk and never buffered in full.
 *
 * A `node:stream` stream is an `AsyncIterable`. Pass the stream as soon as you have it: if any of
 * its content has already been read, the call throws a `TypeError`. During the call, other code can
 * also read the stream via `on("data")` or `pipe()`.
 */
export type AtomicData =
  | AtomicDataSync
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<AtomicChunk>;

/**
 * The error thrown when a system call fails during a write. It has the class and `code` of the
 * system call's error, such as `Deno.errors.NotFound` and `ENOENT`.
 *
 * Other errors, such as one thrown by a source, the reason of an aborted signal, or a permission
 * error from Deno, do not have these properties.
 */
export interface AtomicWriteError extends Error {
  /** The system's error code, such as `"ENOSPC"`. */
  code: string;
  /** The step that failed: `"inspect"`, `"open"`, `"write"`, `"fsync"`, `"rename"` and so on. */
  step: string;
  /** The path of the file to be written. */
  target: string;
  /**
   * Whether the target already has the new content. This is true only if durability is `"durable"`
   * and the directory could not be synced.
   */
  replaced: boolean;
  /**
   * The path of a file that holds the complete new content. It is set only if copying that file
   * over the target failed (see the `fallback` option); the target may then contain a mixture of
   * old and new content.
   */
  temp?: string;
}

/**
 * Returns whether an error is an {@linkcode AtomicWriteError}, the error thrown when a system call
 * fails during a write.
 *
 * @param error The error to check.
 * @returns Whether the error is an {@linkcode AtomicWriteError}.
 *
 * @example Usage
 * ```ts
 * import { atomicWrite, isAtomicWriteError } from "@aperture/atomic";
 * import assert from "node:assert/strict";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const dir = await mkdtemp(`${tmpdir()}/example-`);
 * try {
 *   await atomicWrite(`${dir}/missing/file`, "x");
 * } catch (error) {
 *   if (!isAtomicWriteError(error)) throw error;
 *   assert.deepEqual([error.code, error.step, error.replaced], ["ENOENT", "open", false]);
 * }
 * ```
 */
export function isAtomicWriteError(error: unknown): error is AtomicWriteError {
  const { code, step, target, replaced } = Object(error);
  return [code, step, target].every((fact) => typeof fact === "string") &&
    typeof replaced === "boolean";
}

/**
 * Replaces the content of a file atomically, or creates the file. Readers see either the old
 * content or the new content, never a partial file or a mixture.
 *
 * If the write fails, the target keeps the old content and the temporary file is removed.
 *
 * Within one thread, calls for the same path take effect in call order, except that a stream takes
 * effect when it ends. Consecutive waiting calls with the same options are coalesced: only the
 * newest content is written, and the older calls resolve when that write completes. If the newest
 * write fails, the next newest is attempted instead. A Blob smaller than 2 GiB is read into memory
 * when its turn comes; a larger one is treated as a stream.
 *
 * The directory must exist unless `parents` is true. Do not modify a buffer until the promise has
 * settled; if the buffer is transferred, detached or resized, the write fails. Hard links to the
 * old file keep the old content; extended attributes and access control lists are lost.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the file's directory. If the path is
 * a symbolic link, both permissions are required for the target's directory, plus `--allow-read`
 * for the link itself.
 *
 * @see {@link https://man7.org/linux/man-pages/man2/rename.2.html} for the atomicity of a rename
 *
 * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path. A relative path is
 * resolved when the function is called.
 * @param data The content.
 * @param options Durability, mode, and what to do with an existing file.
 * @throws {TypeError} If an argument has the wrong type or an option is unknown.
 * @throws {RangeError} If an option's value is out of range.
 * @throws {AtomicWriteError} If a system call fails. The error has the runtime's own class and
 * `code`: `EISDIR` if the target is a directory, `ENOTSUP` if it is a FIFO, a socket or a device,
 * `ELOOP` if symbolic links form a cycle, or `EEXIST` if `createNew` is true and the path already
 * exists.
 * @throws {DOMException} If `signal` is aborted. The error is the signal's `reason`.
 * @returns A promise that resolves when the file has the new content with the requested durability.
 *
 * @example Usage
 * ```ts
 * import { atomicWrite } from "@aperture/atomic";
 * import assert from "node:assert/strict";
 * import { mkdtemp, readFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/state.json`;
 * await atomicWrite(path, "old");
 * await atomicWrite(path, "new", { durability: "durable" });
 * assert.equal(await readFile(path, "utf8"), "new");
 * ```
 *
 * @example From a stream, in bounded memory
 * ```ts
 * import { atomicWrite } from "@aperture/atomic";
 * import assert from "node:assert/strict";
 * import { mkdtemp, readFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/page.html`;
 * await atomicWrite(path, new Response("<h1>Hi</h1>").body!);
 * assert.equal(await readFile(path, "utf8"), "<h1>Hi</h1>");
 * ```
 */
export function atomicWrite(
  path: string | URL | Uint8Array,
  data: AtomicData,
  options?: AtomicWriteOptions,
): Promise<void> {
  return atCaller(() => write(writeRequest(path, readOptions(options, WRITE_OPTIONS)), data));
}

/**
 * Replaces the content of a file atomically, or creates the file: the synchronous form of
 * {@linkcode atomicWrite}.
 *
 * It first completes any pending {@linkcode atomicWrite} calls for the path synchronously, so it
 * takes effect after them. It throws `EBUSY` and changes nothing if a pending write is copying over
 * the file in place (see the `fallback` option), or has a Blob as its data, because Blobs cannot be
 * read synchronously. In either case, await that write first.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the file's directory. If the path is
 * a symbolic link, both permissions are required for the target's directory, plus `--allow-read`
 * for the link itself.
 *
 * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param data The content.
 * @param options Durability, mode, and what to do with an existing file.
 * @throws {TypeError} If an argument has the wrong type or an option is unknown.
 * @throws {RangeError} If an option's value is out of range.
 * @throws {AtomicWriteError} If a system call fails. The error has the runtime's own class and
 * `code`: `EISDIR` if the target is a directory, `ENOTSUP` if it is a FIFO, a socket or a device,
 * `ELOOP` if symbolic links form a cycle, or `EEXIST` if `createNew` is true and the path already
 * exists.
 *
 * @example Usage
 * ```ts
 * import { atomicWriteSync } from "@aperture/atomic";
 * import assert from "node:assert/strict";
 * import { mkdtempSync, readFileSync } from "node:fs";
 * import { tmpdir } from "node:os";
 *
 * const path = `${mkdtempSync(`${tmpdir()}/example-`)}/state.json`;
 * atomicWriteSync(path, "{}");
 * assert.equal(readFileSync(path, "utf8"), "{}");
 * ```
 */
export function atomicWriteSync(
  path: string | URL | Uint8Array,
  data: AtomicDataSync,
  options?: AtomicWriteSyncOptions,
): void {
  const request = writeRequest(path, readOptions(options, WRITE_SYNC_OPTIONS));
  atCallerSync(atomicWriteSync, () => writeSync(request, data));
}

/**
 * A replacement for a file, written in several calls and published atomically by
 * {@linkcode AtomicFile.commit}.
 *
 * The replacement is discarded and the file is left unchanged if {@linkcode AtomicFile.discard} is
 * called, an `await using` variable goes out of scope before the commit, a write fails, or the
 * signal is aborted.
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
   * Starts replacing a file by creating a temporary file in the same directory.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the file's directory. If the path
   * is a symbolic link, both permissions are required for the target's directory, plus
   * `--allow-read` for the link itself.
   *
   * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path.
   * @param options Durability, mode, and what to do with an existing file. If `signal` is aborted,
   * the replacement is discarded.
   * @throws {TypeError} If an argument has the wrong type or an option is unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {AtomicWriteError} If a system call fails. The error has the runtime's own class and
   * `code`, as with {@linkcode atomicWrite}.
   * @throws {DOMException} If `signal` is aborted. The error is the signal's `reason`.
   * @returns The replacement, ready for writing.
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
  static open(
    path: string | URL | Uint8Array,
    options?: AtomicWriteOptions,
  ): Promise<AtomicFile> {
    return atCaller(async () => {
      const request = writeRequest(path, readOptions(options, WRITE_OPTIONS));
      return new AtomicFile(await StreamWriter.open(request));
    });
  }

  /** The absolute path of the file to be replaced. */
  get path(): string {
    return this.#writer.path;
  }

  /**
   * A stream that appends its chunks to the replacement, as {@linkcode AtomicFile.write} does.
   *
   * Closing the stream does not commit, so a pipe that ends early publishes nothing. Aborting the
   * stream discards the replacement. Once used, the stream must be closed before the commit;
   * `pipeTo()` closes it when it finishes.
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
   * Appends a chunk. Calls take effect in order even if they are not awaited. If you also write to
   * {@linkcode AtomicFile.writable}, the order of the two kinds of writes is undefined unless you
   * await one before starting the other.
   *
   * Small chunks are copied into a buffer, and the promise resolves immediately; if the buffer
   * cannot be written to disk later, a subsequent call fails. After a failure, the replacement is
   * discarded, so an incomplete file can never be committed. Strings are encoded as one continuous
   * text, so a surrogate pair may be split across two chunks.
   *
   * @param chunk The content to append. Do not modify it until the promise has settled.
   * @throws {TypeError} If the chunk has the wrong type, or the file has already been committed or
   * discarded.
   * @throws {AtomicWriteError} If a system call fails.
   * @throws {DOMException} If `signal` is aborted. The error is the signal's `reason`.
   * @returns A promise that resolves when the chunk has been written or copied.
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
  write(chunk: AtomicChunk): Promise<void> {
    return atCaller(() => this.#writer.write(chunk));
  }

  /**
   * Publishes the replacement by renaming the temporary file over the target.
   *
   * If {@linkcode AtomicFile.writable} is being closed, the commit waits until it is closed. If the
   * stream is not closed but has been written to, or is locked by a pipe or a writer, the commit
   * throws a `TypeError` and the replacement stays open.
   *
   * @throws {TypeError} If the file has already been committed or discarded, or its `writable` has
   * not been closed.
   * @throws {AtomicWriteError} If a system call fails, or failed during an earlier write. In either
   * case, the replacement is discarded.
   * @throws {DOMException} If `signal` is aborted. The error is the signal's `reason`.
   * @returns A promise that resolves when the replacement is in place with the requested
   * durability.
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
  commit(): Promise<void> {
    return atCaller(() => this.#writer.commit());
  }

  /**
   * Discards the replacement and removes the temporary file. This method is idempotent and can be
   * called at any time; after {@linkcode AtomicFile.commit}, it does nothing.
   *
   * @returns A promise that resolves when the temporary file has been removed.
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
  discard(): Promise<void> {
    return this.#writer.discard();
  }

  /**
   * Discards the replacement unless it has been committed. Called when an `await using` variable
   * goes out of scope.
   *
   * @returns A promise that resolves when the temporary file has been removed.
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
  [Symbol.asyncDispose](): Promise<void> {
    return this.discard();
  }
}

/**
 * Removes temporary files that killed processes left behind in a directory.
 *
 * A file is removed if {@linkcode isTempName} accepts its name and it was last written more than
 * `olderThan` milliseconds ago. Only regular files are removed, never links or directories. Files
 * that cannot be removed are skipped, as are unreadable subdirectories if `recursive` is true.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory.
 *
 * @param dir The directory, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options The minimum age of the files to remove, and whether to sweep subdirectories.
 * @throws {TypeError} If an argument has the wrong type or an option is unknown.
 * @throws {RangeError} If `olderThan` is negative.
 * @throws {Error} If the directory cannot be read. The error has the runtime's own class and
 * `code`.
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
export function sweepTempFiles(
  dir: string | URL | Uint8Array,
  options?: SweepOptions,
): Promise<string[]> {
  return atCaller(() => run(sweep(dir, options)));
}

/**
 * Removes temporary files that killed processes left behind in a directory: the synchronous form of
 * {@linkcode sweepTempFiles}.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory.
 *
 * @param dir The directory, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options The minimum age of the files to remove, and whether to sweep subdirectories.
 * @throws {TypeError} If an argument has the wrong type or an option is unknown.
 * @throws {RangeError} If `olderThan` is negative.
 * @throws {Error} If the directory cannot be read. The error has the runtime's own class and
 * `code`.
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
  let removed: string[] = [];
  atCallerSync(sweepTempFilesSync, () => {
    removed = runSync(sweep(dir, options));
  });
  return removed;
}
