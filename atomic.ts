/**
 * Replace files atomically, so that readers never see a partial file.
 *
 * {@linkcode atomicWrite} writes to a temporary file next to the target and renames it over the
 * target. Programs that open the target get either the old content or the new content, even if the
 * disk fills up, a step fails, the process is killed or, with durability `"consistent"` and above,
 * the power fails.
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
 * The iterable is read to its end within the call. Its strings form one text: a surrogate pair may
 * be split between two of them.
 */
export type AtomicDataSync = AtomicChunk | Iterable<AtomicChunk>;

/**
 * Content of a file: data in memory, or a source that is read chunk by chunk and never held in
 * memory as a whole.
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
   * Minimum time since a temporary file was last written, in milliseconds. It must be longer than
   * your longest write takes.
   *
   * 0 removes all temporary files, even those that are dated in the future because the clock was
   * set back or a file server's clock is ahead. Use it only while nothing is writing.
   *
   * @default {3_600_000}
   */
  olderThan?: number;
  /**
   * Whether to sweep all subdirectories too. Links to directories are not followed.
   *
   * @default {false}
   */
  recursive?: boolean;
}

/**
 * The error of a failed write. Its class and `code` are those of the failed system call, such as
 * `Deno.errors.NotFound` and `ENOENT`.
 *
 * Errors of other kinds do not have these properties: the error of a source, the reason of an
 * aborted signal, or a permission that Deno denied.
 */
export interface AtomicWriteError extends Error {
  /** The system's name for the failure, such as `"ENOSPC"`. */
  code: string;
  /** The step that failed: `"inspect"`, `"open"`, `"write"`, `"fsync"`, `"rename"` and so on. */
  step: string;
  /** The path of the write. */
  target: string;
  /**
   * Whether the target already has the new content. This is true only if durability is `"durable"`
   * and the directory could not be synced.
   */
  replaced: boolean;
  /**
   * The path of a file with all of the new content, if copying it over the target failed (option
   * `fallback`) and the target may contain a mixture of old and new.
   */
  temp?: string;
}

/**
 * Returns whether an error is an {@linkcode AtomicWriteError}, which means that a system call of a
 * write failed.
 *
 * @param error The error that was thrown.
 * @returns Whether it is such an error.
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

const DEFAULT_OLDER_THAN_MS = 3_600_000;

const SWEEP_OPTIONS: Checks<SweepOptions> = { olderThan: isDuration, recursive: isBoolean };

/**
 * Replaces the content of a file atomically, or creates the file. Readers see either the old content
 * or the new content, never a part or a mixture.
 *
 * If the write fails, the target keeps the old content and the temporary file is removed.
 *
 * Within one thread, calls on one path take effect in call order; a stream takes effect when it
 * ends. Consecutive waiting calls with the same options are coalesced: only the newest is written,
 * and the others resolve with it. If it fails, the next newest is written instead. A Blob of less
 * than 2 GiB is read into memory when its turn comes; a larger one is treated as a stream.
 *
 * The directory must exist, unless `parents` is true. Do not change bytes until the promise has
 * settled: if they are transferred, detached or resized, the write fails. A hard link to the old
 * file keeps the old content; extended attributes and access control lists are lost.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file. If the path
 * is a symbolic link, they are required for the directory of the file that it points to, and
 * `--allow-read` for the link.
 *
 * @see {@link https://man7.org/linux/man-pages/man2/rename.2.html} for the atomicity of a rename
 *
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path. A relative path is
 * resolved when the function is called.
 * @param data The content.
 * @param options Durability, mode, and what to do with an existing file.
 * @throws {TypeError} If an argument has the wrong type, or an option is unknown.
 * @throws {RangeError} If an option's value is out of range.
 * @throws {AtomicWriteError} If a system call fails: the runtime's own error class, with its `code`.
 * `EISDIR` if the target is a directory, `ENOTSUP` if it is a FIFO, a socket or a device, `ELOOP` if
 * symbolic links form a cycle, `EEXIST` if something exists and `createNew` is true.
 * @throws {DOMException} The reason of `signal` when it is aborted.
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
 * It first completes the pending calls of {@linkcode atomicWrite} on the path synchronously, and so
 * takes effect after them. It throws `EBUSY`, and changes nothing, while a Blob is being written to
 * the path, because a Blob cannot be read synchronously, or while another write copies over the file
 * in place (option `fallback`). Await that write first.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file. If the path
 * is a symbolic link, they are required for the directory of the file that it points to, and
 * `--allow-read` for the link.
 *
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param data The content.
 * @param options Durability, mode, and what to do with an existing file.
 * @throws {TypeError} If an argument has the wrong type, or an option is unknown.
 * @throws {RangeError} If an option's value is out of range.
 * @throws {AtomicWriteError} If a system call fails: the runtime's own error class, with its `code`.
 * `EISDIR` if the target is a directory, `ENOTSUP` if it is a FIFO, a socket or a device, `ELOOP` if
 * symbolic links form a cycle, `EEXIST` if something exists and `createNew` is true.
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
   * @param options Durability, mode, and what to do with an existing file. If `signal` is aborted,
   * the replacement is discarded.
   * @throws {TypeError} If an argument has the wrong type, or an option is unknown.
   * @throws {RangeError} If an option's value is out of range.
   * @throws {AtomicWriteError} If a system call fails: the runtime's own error class, with
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
  static open(
    path: string | URL | Uint8Array,
    options?: AtomicWriteOptions,
  ): Promise<AtomicFile> {
    return atCaller(async () => {
      const request = writeRequest(path, readOptions(options, WRITE_OPTIONS));
      return new AtomicFile(await StreamWriter.open(request));
    });
  }

  /** The absolute path of the file that is replaced. */
  get path(): string {
    return this.#writer.path;
  }

  /**
   * A stream that writes its chunks as {@linkcode AtomicFile.write} does.
   *
   * Closing it does not commit, so that a pipe that ends early publishes nothing. Aborting it
   * discards the replacement. A stream that was used must be closed before the commit; a pipe closes
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
   * Small chunks are copied into a buffer: the promise resolves immediately, and if they cannot be
   * written, a later call fails. After a failure the replacement is discarded, so that nothing
   * incomplete can be committed. The strings form one text: a surrogate pair may be split between
   * two of them.
   *
   * @param chunk The content to append. It must not be changed until the promise has settled.
   * @throws {TypeError} If the chunk has the wrong type, or the file is already committed or
   * discarded.
   * @throws {AtomicWriteError} If a system call fails.
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
  write(chunk: AtomicChunk): Promise<void> {
    return atCaller(() => this.#writer.write(chunk));
  }

  /**
   * Publishes the replacement: renames the temporary file over the file.
   *
   * If {@linkcode AtomicFile.writable} is being closed, the commit waits for it. If the stream was
   * written to, or a pipe or a writer still holds it, and nothing has closed it, the commit throws a
   * `TypeError`, and the replacement stays open.
   *
   * @throws {TypeError} If the file is already committed or discarded, or its `writable` is not
   * closed.
   * @throws {AtomicWriteError} If a system call fails, including one of an earlier write. The
   * replacement is then discarded.
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
  commit(): Promise<void> {
    return atCaller(() => this.#writer.commit());
  }

  /**
   * Discards the replacement and removes the temporary file. It can be called at any time, and is
   * idempotent; after {@linkcode AtomicFile.commit} it does nothing.
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
  discard(): Promise<void> {
    return this.#writer.discard();
  }

  /**
   * Discards the replacement unless it was committed; called at the end of the scope of an
   * `await using` variable.
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
  [Symbol.asyncDispose](): Promise<void> {
    return this.discard();
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
 * more than `olderThan` ago, never links or directories. Files that cannot be removed stay. With
 * `recursive`, subdirectories that cannot be read are skipped.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory.
 *
 * @param dir The directory: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options How old a file must be, and whether to sweep subdirectories.
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
export function sweepTempFiles(
  dir: string | URL | Uint8Array,
  options?: SweepOptions,
): Promise<string[]> {
  return atCaller(() => run(sweep(sweepRequest(dir, options))));
}

/**
 * Removes the temporary files that killed processes left in a directory: the synchronous form of
 * {@linkcode sweepTempFiles}.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory.
 *
 * @param dir The directory: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options How old a file must be, and whether to sweep subdirectories.
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
  const request = sweepRequest(dir, options);
  let removed: string[] = [];
  atCallerSync(sweepTempFilesSync, () => {
    removed = runSync(sweep(request));
  });
  return removed;
}

function sweepRequest(dir: string | URL | Uint8Array, options?: SweepOptions): SweepRequest {
  const { olderThan = DEFAULT_OLDER_THAN_MS, recursive = false } = readOptions(
    options,
    SWEEP_OPTIONS,
  );
  // A file may be dated in the future, so 0 cannot be a limit in time.
  const before = olderThan === 0 ? Infinity : Date.now() - olderThan;
  return { dir: absolutePath(dir), before, recursive };
}
