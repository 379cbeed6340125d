import { runtime } from "../../runtime/mod.ts";
import type { OpenFile } from "../../runtime/types.ts";
import { bestEffort, codeOf } from "../base/errors.ts";
import { opened } from "../base/opened.ts";
import { REMOVE_RETRY_MS, retryRefused } from "../base/windows_retry.ts";
import { sharedState } from "../base/shared_state.ts";
import { call, type Steps } from "../base/steps.ts";
import { areSame, type Attributes, firstMode, setAttributes } from "./attributes.ts";
import type { Content } from "./content.ts";
import { failure } from "./errors.ts";
import type { WriteRequest } from "./request.ts";
import type { Target } from "./target.ts";
import { tempPath } from "./temp_name.ts";

/** With 62 random bits in each name, more collisions than this cannot be a coincidence. */
const MAX_NAMES = 16;

/** The paths of existing temporary files, shared by all copies of the library. */
const unfinished = sharedState("unfinished/3", () => {
  const paths = new Set<string>();
  runtime.onExit(() => {
    // Any that cannot be removed are left for sweepTempFiles().
    for (const path of paths) bestEffort(() => runtime.sync.remove(path));
  });
  return paths;
});

/**
 * A temporary file next to its target. It is removed when the program exits, unless it has already
 * been published or discarded.
 */
export class TempFile {
  readonly #request: WriteRequest;
  #path: string;
  /** The path without links, if known: it stays valid even if a link to the directory is changed. */
  #realPath: string | undefined;
  /** Open from creation until {@linkcode TempFile.close}. */
  #file: OpenFile | undefined;
  #attributes: Attributes | undefined;
  /** Whether the content and the attributes are on the disk. */
  isSynced = false;

  private constructor(request: WriteRequest, target: Target) {
    this.#request = request;
    this.#path = tempPath(target.path);
    unfinished().add(this.#path);
  }

  /** Creates an empty file. */
  static *create(request: WriteRequest, target: Target): Steps<TempFile> {
    const mode = firstMode(target.attributes);
    for (let names = 1;; names++) {
      const temp = new TempFile(request, target);
      try {
        temp.#file = yield* opened(request, (fs) => fs.create(temp.#path, mode));
        return temp;
      } catch (error) {
        temp.#forget(); // The file belongs to another program, or does not exist.
        if (codeOf(error) !== "EEXIST" || names === MAX_NAMES) {
          throw failure(error, request, "open");
        }
      }
    }
  }

  get path(): string {
    return this.#path;
  }

  /** Records the real path, for a file that is published later: a link to its directory may change. */
  findRealPath(): void {
    // A permission may be missing. That matters only if a link is changed.
    bestEffort(() => {
      this.#realPath = runtime.realPath(this.#path);
      unfinished().add(this.#realPath);
    });
  }

  /** Appends all of `content`. `check` runs between calls. */
  *append(content: Content, check: () => void): Steps<void> {
    try {
      yield* writeAll(this.#file!, this.#path, content, check);
    } catch (error) {
      throw failure(error, this.#request, "write");
    }
  }

  /**
   * Sets the owner and mode, and syncs if `durability` requires it. Skips what is already done, so
   * a second call costs nothing if the target has not changed.
   */
  *seal(attributes: Attributes, check: () => void = () => {}): Steps<void> {
    const [request, file] = [this.#request, this.#file];
    check();
    // A synchronous call has taken over a write that was closing the file.
    if (file === undefined) return;
    // If the target is gone, the file keeps the attributes that it already has.
    const isChanged = attributes.mode !== undefined && !areSame(this.#attributes, attributes);
    let step = "attributes";
    try {
      // Do this before the sync, so that the attributes are also written to disk. Deno reopens the
      // file to set them.
      const set = (path: string) => opened(request, () => setAttributes(file, path, attributes));
      if (isChanged) yield* this.#reach(set);
      this.#attributes = attributes;
      if (request.durability === "none" || this.isSynced && !isChanged) return;
      step = "fsync";
      // Never retry: after a failed fsync, the kernel may drop the data that it could not write,
      // and the next fsync would succeed without it (https://lwn.net/Articles/752063/).
      yield (_, isSync) => file.sync(isSync);
    } catch (error) {
      throw failure(error, request, step);
    }
    this.isSynced = true;
  }

  /** Closes the file. */
  *close(): Steps<void> {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    try {
      // Some file systems report a full disk only on close(2).
      yield (_, isSync) => file.close(isSync);
    } catch (error) {
      throw failure(error, this.#request, "close");
    }
  }

  /**
   * Renames the file to `path`. On Windows, retries for up to `retryMs`; `check` runs before each
   * retry.
   */
  *publish(path: string, retryMs = 0, check: () => void = () => {}): Steps<void> {
    yield* this.#reach((from) => retryRefused(retryMs, (fs) => fs.rename(from, path), check));
    this.#forget();
  }

  /** Gives the file a second name. Unlike a rename, this never replaces an existing file. */
  link(path: string): Steps<void> {
    return this.#reach((from) => call((fs) => fs.link(from, path)));
  }

  /** Closes and removes the file. Never throws, because that would mask the first error. */
  *discard(): Steps<void> {
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) yield* closeQuietly(file);
    if (!unfinished().has(this.#path)) return;
    try {
      yield* this.#reach((path) => retryRefused(REMOVE_RETRY_MS, (fs) => fs.remove(path)));
    } catch {
      // The file was never created, or is left for sweepTempFiles().
    }
    this.#forget();
  }

  /**
   * Makes a call with the file's path, or with its real path if a link to its directory has
   * changed.
   */
  *#reach<T>(make: (path: string) => Steps<T>): Steps<T> {
    try {
      return yield* make(this.#path);
    } catch (error) {
      if (codeOf(error) !== "ENOENT" || this.#realPath === undefined) throw error;
    }
    unfinished().delete(this.#path);
    this.#path = this.#realPath;
    return yield* make(this.#path);
  }

  #forget(): void {
    unfinished().delete(this.#path);
    if (this.#realPath !== undefined) unfinished().delete(this.#realPath);
  }
}

/**
 * Writes all of `content`, even if a single call writes fewer bytes. `check` runs between calls.
 */
export function* writeAll(
  file: OpenFile,
  path: string,
  content: Content,
  check: () => void = () => {},
): Steps<void> {
  for (let offset = 0; offset < content.length;) {
    check();
    const bytes = content.slice(offset);
    let written: number;
    try {
      written = (yield (_, isSync) => file.write(bytes, isSync)) as number;
    } catch (error) {
      if (codeOf(error) === "EINTR") continue; // Nothing was written, and Deno does not retry.
      throw error;
    }
    content.slice(offset); // Don't report a detached buffer as a disk error.
    if (written === 0) throw runtime.error("EIO", "No bytes were written", path);
    offset += written;
  }
  // If the buffer was detached during the last call, it may not have been written.
  content.slice(content.length);
}

/** Closes a file, ignoring failures: the descriptor is freed anyway (see close(2)). */
export function* closeQuietly(file: Pick<OpenFile, "close">): Steps<void> {
  try {
    yield (_, isSync) => file.close(isSync);
  } catch {
    // An earlier error is reported.
  }
}
