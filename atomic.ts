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

import { basename } from "@std/path/basename";
import { dirname } from "@std/path/dirname";
import { codeOf, explain } from "./_errors.ts";
import { kindOf, readOptions, SWEEP_CHECKS, WRITE_CHECKS, WRITE_SYNC_CHECKS } from "./_options.ts";
import { absolutePath, inside } from "./_paths.ts";
import { findTarget } from "./_target.ts";
import { runtime } from "./runtime/mod.ts";
import { call, run, runSync, type Steps } from "./runtime/steps.ts";
import type { Awaitable, FileSystem, OpenFile } from "./runtime/types.ts";

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
   * By default the file keeps the permission bits of the one that it replaces, and
   * its owner and group where the process may set them; a new file has 0o666 less
   * the umask.
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
}

/** `{name}` in a temporary name is cut so that the whole has no more bytes (eCryptfs allows no more). */
const TEMP_NAME_BYTES = 143;
/** What a temporary name has beside `{name}`: two dots, 16 digits and ".tmp". */
const TEMP_EXTRA_BYTES = 22;
/** More names that are taken, of 64 random bits each, are no accident. */
const MAX_TEMP_NAMES = 16;
/** How long a rename is tried on Windows while another program has the target open, in milliseconds. */
const RENAME_PATIENCE = 2_000;

const ONE_HOUR = 3_600_000;

/** A file system without owners or permissions, or a sandbox, refuses chown and chmod like this. */
const REFUSALS = new Set(["EPERM", "EACCES", "EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);
/** A file system that cannot sync a directory says so like this. */
const UNSYNCABLE = new Set(["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);
/** Windows refuses a rename like this while a virus scanner, an indexer or a reader has the target open. */
const IN_USE = new Set(["EPERM", "EACCES", "EBUSY"]);

/**
 * Replaces the content of a file atomically, or creates the file.
 *
 * Readers see the old content or the new, whole. If the write fails, the target is
 * as it was and the temporary file is gone. Calls of this process on one path take
 * effect in the order in which they are made, though their data is written in
 * parallel: the last call wins.
 *
 * The parent directory must exist. Bytes must not be changed until the promise is
 * settled. A hard link to the old file keeps the old content, and extended
 * attributes and access control lists are not carried over.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the
 * file, of the file that it points to if it is a symbolic link.
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
  const request = requestOf(path, readOptions(options, WRITE_CHECKS));
  const bytes = bytesOf(data);
  const turn = new Turn(request.path);
  try {
    if (bytes !== undefined) {
      request.signal?.throwIfAborted();
      await land(await run(prepare(request, bytes)), turn);
    } else {
      await copy(sourceOf(data), request, turn);
    }
  } finally {
    turn.end();
  }
}

/**
 * Replaces the content of a file atomically, or creates the file: the synchronous
 * form of {@linkcode atomicWrite}.
 *
 * It takes effect after the calls of {@linkcode atomicWrite} on the path that were made
 * before, unless one is at its rename at this very moment: that one may come last.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the
 * file, of the file that it points to if it is a symbolic link.
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
  const request = requestOf(path, readOptions(options, WRITE_SYNC_CHECKS));
  const bytes = bytesOf(data);
  if (bytes === undefined) {
    throw new TypeError(
      `Data must be a string, an ArrayBuffer or a view of one: received ${kindOf(data)}`,
    );
  }
  const turn = new Turn(request.path);
  try {
    const draft = runSync(prepare(request, bytes));
    runSync(seal(draft));
    runSync(publish(draft, turn));
    runSync(syncParent(draft));
  } finally {
    turn.end();
  }
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
  readonly #draft: Draft;
  readonly #onAbort = (): void => void this.discard();
  #state: "open" | "committed" | "discarded" = "open";
  #failure: { readonly error: unknown } | undefined;
  /** Settled when all calls made so far are. */
  #calls: Promise<unknown> = Promise.resolve();
  #writable: WritableStream<Uint8Array> | undefined;

  private constructor(draft: Draft) {
    this.#draft = draft;
    draft.request.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /**
   * Begins the replacement of a file.
   *
   * Requires `--allow-read` and `--allow-write` permissions for the directory of the
   * file, of the file that it points to if it is a symbolic link.
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
    const request = requestOf(path, readOptions(options, WRITE_CHECKS));
    request.signal?.throwIfAborted();
    const draft = await run(begin(request));
    if (request.signal?.aborted) await run(abandon(draft));
    request.signal?.throwIfAborted();
    return new AtomicFile(draft);
  }

  /** The absolute path of the file that is to be replaced. */
  get path(): string {
    return this.#draft.request.path;
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
    return this.#writable ??= new WritableStream({
      write: (chunk) => this.write(chunk),
      abort: () => this.discard(),
    });
  }

  /**
   * Appends to the replacement. Calls that are not awaited take effect in order.
   *
   * When a write fails, all is discarded, and so nothing incomplete can be committed.
   *
   * @param chunk What to append. It must not be changed until the promise is settled.
   * @throws {TypeError} If the chunk is of the wrong type, or the file is committed or
   * discarded already.
   * @throws {AtomicWriteError} If a file call fails.
   * @returns A promise that is resolved when the chunk is written.
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
    const bytes = chunkBytes(chunk);
    await this.#next(async () => {
      this.#mustBeOpen("write to");
      try {
        await run(append(this.#draft, bytes));
      } catch (error) {
        await this.#discard({ error });
        throw error;
      }
    });
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
    const turn = new Turn(this.path);
    try {
      await this.#next(async () => {
        this.#mustBeOpen("commit");
        try {
          await land(this.#draft, turn);
        } catch (error) {
          await this.#discard({ error });
          throw error;
        }
        this.#close("committed");
      });
    } finally {
      turn.end();
    }
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
    await this.#next(() => this.#discard());
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

  /** Carries out `work` after all that was called before. */
  #next(work: () => Promise<void>): Promise<void> {
    const done = this.#calls.then(work);
    this.#calls = done.catch(() => {});
    return done;
  }

  #mustBeOpen(action: string): void {
    this.#draft.request.signal?.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#state !== "open") {
      throw new TypeError(`Cannot ${action} '${this.path}': it is ${this.#state} already`);
    }
  }

  async #discard(failure?: { error: unknown }): Promise<void> {
    if (this.#state !== "open") return;
    this.#failure = failure;
    this.#close("discarded");
    await run(abandon(this.#draft));
  }

  #close(state: "committed" | "discarded"): void {
    this.#state = state;
    this.#draft.request.signal?.removeEventListener("abort", this.#onAbort);
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
  return /^\.[^/]+\.[0-9a-f]{16}\.tmp$/.test(name);
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
  const { olderThan = ONE_HOUR } = readOptions(options, SWEEP_CHECKS);
  return await run(sweep(path, Date.now() - olderThan));
}

function* sweep(dir: string, before: number): Steps<string[]> {
  const removed: string[] = [];
  for (const name of yield* call((fs) => fs.readDir(dir))) {
    if (!isTempName(name)) continue;
    const path = inside(dir, name);
    try {
      const { kind, mtime } = yield* call((fs) => fs.lstat(path));
      if (kind !== "file" || mtime > before) continue;
      yield* call((fs) => fs.remove(path));
      removed.push(path);
    } catch (error) {
      const code = codeOf(error);
      // Another sweep or its writer was quicker, it is another user's, or it is open on Windows.
      if (code !== "ENOENT" && !IN_USE.has(code ?? "")) throw error;
    }
  }
  return removed;
}

/** A call to write, checked. */
interface Request {
  readonly path: string;
  readonly durability: Durability;
  readonly mode: number | undefined;
  readonly createNew: boolean;
  readonly symlinks: "follow" | "replace";
  readonly signal: AbortSignal | undefined;
}

/** The file to replace, links followed, and what its replacement has to look like. */
interface Target {
  readonly path: string;
  readonly mode: number | undefined;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

/** A temporary file on its way to replace its target. */
interface Draft {
  readonly request: Request;
  readonly target: Target;
  readonly temp: string;
  /** Open until all is written. */
  file: OpenFile | undefined;
}

function requestOf(path: string | URL, options: AtomicWriteOptions): Request {
  const { durability = "consistent", mode, createNew = false, symlinks = "follow", signal } =
    options;
  return { path: absolutePath(path), durability, mode, createNew, symlinks, signal };
}

/** The bytes of data in memory; undefined for data of another kind. */
function bytesOf(data: unknown): Uint8Array | undefined {
  if (typeof data === "string") return new TextEncoder().encode(data);
  if (ArrayBuffer.isView(data)) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    // Other threads may change shared memory during the write, and file calls do not take it.
    return data.buffer instanceof ArrayBuffer ? bytes : bytes.slice();
  }
  // By its tag, since an ArrayBuffer of another realm (a test runner's) is no instance of this one's.
  if (Object.prototype.toString.call(data) === "[object ArrayBuffer]") {
    return new Uint8Array(data as ArrayBuffer);
  }
  return undefined;
}

function chunkBytes(chunk: unknown): Uint8Array {
  const bytes = bytesOf(chunk);
  if (bytes !== undefined) return bytes;
  throw new TypeError(
    `Chunk must be a string, an ArrayBuffer or a view of one: received ${kindOf(chunk)}`,
  );
}

/** Data that arrives in pieces. */
interface Source {
  next(): Promise<IteratorResult<unknown, unknown>>;
  /** Tells the source that no more is wanted, without waiting for its answer. */
  stop(reason: unknown): void;
}

function sourceOf(data: unknown): Source {
  if (data instanceof Blob) return sourceOf(data.stream());
  if (data instanceof ReadableStream) {
    const reader: ReadableStreamDefaultReader<unknown> = data.getReader();
    return {
      next: () => reader.read() as Promise<IteratorResult<unknown, unknown>>,
      stop: (reason) => void reader.cancel(reason).catch(() => {}),
    };
  }
  if (typeof data === "object" && data !== null && Symbol.asyncIterator in data) {
    const iterator = (data as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    return {
      next: async () => await iterator.next(),
      stop: () => void (async () => await iterator.return?.())().catch(() => {}),
    };
  }
  throw new TypeError(
    "Data must be a string, an ArrayBuffer or a view of one, a Blob, a ReadableStream " +
      `or an AsyncIterable: received ${kindOf(data)}`,
  );
}

/** Writes all that comes from `source`. */
async function copy(source: Source, request: Request, turn: Turn): Promise<void> {
  const { signal } = request;
  let giveUp: (reason: unknown) => void = () => {};
  const onAbort = () => giveUp(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    const draft = await run(begin(request));
    try {
      for (;;) {
        signal?.throwIfAborted();
        // A source that stalls must not keep an aborted write waiting.
        const { done, value } = await new Promise<IteratorResult<unknown, unknown>>(
          (resolve, reject) => {
            giveUp = reject;
            source.next().then(resolve, reject);
          },
        );
        if (done) break;
        await run(append(draft, chunkBytes(value)));
      }
    } catch (error) {
      await run(abandon(draft));
      throw error;
    }
    await land(draft, turn);
  } catch (error) {
    source.stop(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Finishes a draft and puts it in its target's place. */
async function land(draft: Draft, turn: Turn): Promise<void> {
  await run(seal(draft));
  await turn.alone(() => run(publish(draft, turn)));
  await run(syncParent(draft));
}

/** Writes all of `bytes` to a new draft. */
function* prepare(request: Request, bytes: Uint8Array): Steps<Draft> {
  const target = yield* locate(request);
  request.signal?.throwIfAborted();
  if (request.durability === "none") {
    const draft = yield* writeAtOnce(request, target, bytes);
    if (draft !== undefined) return draft;
  }
  const draft = yield* create(request, target);
  try {
    yield* append(draft, bytes);
  } catch (error) {
    yield* abandon(draft);
    throw error;
  }
  return draft;
}

/** Opens an empty draft. */
function* begin(request: Request): Steps<Draft> {
  const target = yield* locate(request);
  request.signal?.throwIfAborted();
  return yield* create(request, target);
}

/** Finds out what is to be replaced, and refuses what must not be. */
function* locate(request: Request): Steps<Target> {
  const { mode, createNew, symlinks } = request;
  // With a mode given, nothing is taken from what is there: it is only followed or refused,
  // and a thread hop for that would cost more than the call.
  const lstat = mode === undefined
    ? undefined
    : (path: string) => call(() => runtime.sync.lstat(path));
  try {
    const { path, info } = yield* findTarget(
      request.path,
      createNew ? "none" : symlinks,
      lstat,
    );
    return mode === undefined && info?.kind === "file" && !runtime.windows
      ? { path, mode: info.mode, owner: info }
      : { path, mode, owner: undefined };
  } catch (error) {
    throw failure(error, request, "lstat");
  }
}

/** Opens a temporary file beside the target. */
function* create(request: Request, target: Target): Steps<Draft> {
  // A set-id bit has to wait until the owner is right.
  const mode = target.mode === undefined ? undefined : target.mode & 0o777;
  for (let tries = 1;; tries++) {
    const temp = tempPath(target.path);
    try {
      return { request, target, temp, file: yield* call((fs) => fs.create(temp, mode)) };
    } catch (error) {
      if (codeOf(error) !== "EEXIST" || tries === MAX_TEMP_NAMES) {
        throw failure(error, request, "open");
      }
    }
  }
}

/**
 * Writes the temporary file in one call, which does when it need not be synced.
 * Undefined if the file has to be opened, for its owner or mode to be set.
 */
function* writeAtOnce(
  request: Request,
  target: Target,
  bytes: Uint8Array,
): Steps<Draft | undefined> {
  const { mode, owner } = target;
  if (mode !== undefined && mode > 0o777) return undefined;
  const draft: Draft = { request, target, temp: tempPath(target.path), file: undefined };
  try {
    yield* call((fs) => fs.writeNew(draft.temp, bytes, mode));
  } catch (error) {
    const code = codeOf(error) ?? "";
    if (code === "EEXIST") return undefined; // Another's file, not to be removed.
    yield* abandon(draft);
    if (mode !== undefined && REFUSALS.has(code)) return undefined;
    throw failure(error, request, "write");
  }
  if (owner === undefined) return draft;
  try {
    const own = yield* step(request, "lstat", () => runtime.sync.lstat(draft.temp));
    if (sameOwner(own, owner)) return draft;
  } catch (error) {
    yield* abandon(draft);
    throw error;
  }
  yield* abandon(draft);
  return undefined;
}

/** Writes all of `bytes`, however few of them each call takes. */
function* append(draft: Draft, bytes: Uint8Array): Steps<void> {
  const { request } = draft;
  const file = draft.file!;
  for (let offset = 0; offset < bytes.byteLength;) {
    const rest = bytes.subarray(offset);
    let written: number;
    try {
      written = yield* call(() => file.write(rest));
    } catch (error) {
      if (codeOf(error) === "EINTR") continue; // Nothing was written; Deno does not try again.
      throw failure(error, request, "write");
    }
    if (written === 0) {
      throw failure(runtime.error("EIO", "No bytes were taken", draft.temp), request, "write");
    }
    offset += written;
  }
}

/** Gives the draft the owner and mode of what it replaces, and gets it onto the disk. */
function* seal(draft: Draft): Steps<void> {
  const { file, request, target } = draft;
  if (file === undefined) return;
  try {
    // Before the sync, which is what gets them onto the disk too.
    if (!runtime.windows) yield* setAttributes(file, request, target);
    // Once: after a failed fsync the kernel may forget what it could not write, and the
    // next one succeeds without it (https://lwn.net/Articles/752063/).
    if (request.durability !== "none") yield* step(request, "fsync", () => file.sync());
    draft.file = undefined;
    yield* step(request, "close", () => file.close());
  } catch (error) {
    yield* abandon(draft);
    throw error;
  }
}

function* setAttributes(file: OpenFile, request: Request, target: Target): Steps<void> {
  let { mode } = target;
  const { owner } = target;
  if (mode === undefined) return;
  let now = yield* step(request, "fstat", () => file.stat());
  if (owner !== undefined && !sameOwner(now, owner)) {
    // Before the mode, since chown(2) clears the set-id bits. Who may not give a file
    // away may still give it to a group of theirs.
    for (const uid of new Set([owner.uid, now.uid])) {
      if (yield* allowed(request, "chown", () => file.chown(uid, owner.gid))) break;
    }
    now = yield* step(request, "fstat", () => file.stat());
    // What was granted to one owner or group must not go to another.
    if (now.uid !== owner.uid) mode &= ~0o4000;
    if (now.gid !== owner.gid) mode &= ~0o2070 | ((mode & 0o007) << 3);
  }
  const wanted = mode;
  if (now.mode !== wanted) yield* allowed(request, "chmod", () => file.chmod(wanted));
}

/** Puts a sealed draft in its target's place. */
function* publish(draft: Draft, turn: Turn): Steps<void> {
  const { request, target, temp } = draft;
  try {
    request.signal?.throwIfAborted();
    if (request.createNew) {
      // Unlike a rename, a link does not replace what somebody put there meanwhile.
      yield* step(request, "link", (fs) => fs.link(temp, target.path));
      yield* abandon(draft);
    } else if (turn.passed) {
      yield* abandon(draft);
      return;
    } else {
      yield* rename(draft);
    }
  } catch (error) {
    yield* abandon(draft);
    throw error;
  }
  turn.land();
}

function* rename({ request, target, temp }: Draft): Steps<void> {
  for (let pause = 1, waited = 0;; pause *= 2) {
    try {
      return yield* call((fs) => fs.rename(temp, target.path));
    } catch (error) {
      const inUse = runtime.windows && IN_USE.has(codeOf(error) ?? "");
      if (!inUse || waited >= RENAME_PATIENCE) throw failure(error, request, "rename");
    }
    yield* call((fs) => fs.sleep(pause));
    request.signal?.throwIfAborted();
    waited += pause;
  }
}

/** Gets the rename onto the disk: into the directory that the file is in, not one with a link to it. */
function* syncParent({ request, target }: Draft): Steps<void> {
  if (request.durability !== "durable" || runtime.windows) return;
  try {
    yield* call((fs) => fs.syncDir(dirname(target.path)));
  } catch (error) {
    if (!UNSYNCABLE.has(codeOf(error) ?? "")) {
      throw failure(error, request, "fsync directory", true);
    }
  }
}

/** Removes what there is of a draft. It does not fail, so that the first error is the one that is reported. */
function* abandon(draft: Draft): Steps<void> {
  const { file } = draft;
  draft.file = undefined;
  try {
    if (file !== undefined) yield* call(() => file.close());
  } catch {
    // The descriptor is gone all the same, close(2).
  }
  try {
    yield* call((fs) => fs.remove(draft.temp));
  } catch {
    // It was not created, or is left for sweepTempFiles().
  }
}

/** A call whose failure fails the request. */
function* step<T>(
  request: Request,
  name: string,
  make: (fs: FileSystem) => Awaitable<T>,
): Steps<T> {
  try {
    return yield* call(make);
  } catch (error) {
    throw failure(error, request, name);
  }
}

/** A {@linkcode step} that may be refused: whether it was not. */
function* allowed(request: Request, name: string, make: () => void): Steps<boolean> {
  try {
    yield* call(make);
    return true;
  } catch (error) {
    if (REFUSALS.has(codeOf(error) ?? "")) return false;
    throw failure(error, request, name);
  }
}

function failure(error: unknown, { path }: Request, step: string, replaced = false): unknown {
  return explain(error, `Cannot write '${path}' (${step})`, {
    step,
    target: path,
    replaced,
  });
}

function sameOwner(a: { uid: number; gid: number }, b: { uid: number; gid: number }): boolean {
  return a.uid === b.uid && a.gid === b.gid;
}

/** A fresh name beside `target`. */
function tempPath(target: string): string {
  const name = basename(target);
  const [random] = crypto.getRandomValues(new BigUint64Array(1));
  const digits = random!.toString(16).padStart(16, "0");
  return inside(dirname(target), `.${stemOf(name)}.${digits}.tmp`);
}

/** As much of a name as there is room for in a temporary one, in whole characters. */
function stemOf(name: string): string {
  // No character of UTF-16 has more than three bytes in UTF-8.
  if (name.length * 3 <= TEMP_NAME_BYTES - TEMP_EXTRA_BYTES) return name;
  const encoder = new TextEncoder();
  const bytes = (text: string) => encoder.encode(text).byteLength;
  // A name as long as the target's own is one that the file system allows.
  let room = Math.max(TEMP_NAME_BYTES, bytes(name)) - TEMP_EXTRA_BYTES;
  let stem = "";
  for (const character of name) {
    room -= bytes(character);
    if (room < 0) break;
    stem += character;
  }
  return stem;
}

/** The calls of this process on one path that have not ended. */
interface Line {
  calls: number;
  /** The number of the latest call whose content is in place. */
  landed: number;
  /** Settled when no rename is under way. */
  renames: Promise<unknown>;
}

const lines = new Map<string, Line>();
let calls = 0;

/** The place of a call among those of this process on one path. */
class Turn {
  readonly #path: string;
  readonly #line: Line;
  readonly #number = ++calls;

  constructor(path: string) {
    this.#path = path;
    let line = lines.get(path);
    if (line === undefined) {
      lines.set(path, line = { calls: 0, landed: 0, renames: Promise.resolve() });
    }
    line.calls++;
    this.#line = line;
  }

  /**
   * Whether a later call has put its content in place. This one then has nothing to do:
   * all is as if it had been replaced as soon as it landed.
   */
  get passed(): boolean {
    return this.#line.landed > this.#number;
  }

  land(): void {
    this.#line.landed = Math.max(this.#line.landed, this.#number);
  }

  /** Carries out `rename` when no other on the path is under way, which could overtake it. */
  async alone(rename: () => Promise<void>): Promise<void> {
    const done = this.#line.renames.then(rename);
    this.#line.renames = done.catch(() => {});
    await done;
  }

  end(): void {
    if (--this.#line.calls === 0) lines.delete(this.#path);
  }
}
