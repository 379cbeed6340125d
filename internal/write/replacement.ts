import { runtime } from "../../runtime/mod.ts";
import { throwIfAborted } from "../base/abort.ts";
import { syncNames } from "../base/directories.ts";
import { failedWith } from "../base/errors.ts";
import { opened } from "../base/opened.ts";
import type { Steps } from "../base/steps.ts";
import { RENAME_RETRY_MS } from "../base/windows_retry.ts";
import { queueKey, takeTurn, takeTurnSync, type Turn } from "../order/path_queue.ts";
import { type Content, readBlob } from "./content.ts";
import { failure } from "./errors.ts";
import { copyInPlace, mayCopyInPlace } from "./in_place.ts";
import type { WriteRequest } from "./request.ts";
import { enterSlot } from "./slots.ts";
import { prepareTarget, type Target } from "./target.ts";
import { closeQuietly, TempFile } from "./temp_file.ts";

/** Error codes on file systems that cannot sync directories. */
const UNSYNCABLE = new Set(["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);

/**
 * Error codes on file systems without hard links: FAT and exFAT fail with EPERM on Linux, and with
 * "Incorrect function" on Windows, which the runtimes map to EISDIR.
 */
const LINK_REFUSALS = new Set(["EPERM", "EISDIR", "ENOSYS", "EOPNOTSUPP"]);

/** The new content, in exactly one of these forms. */
interface Data {
  readonly content?: Content;
  readonly blob?: Blob;
  /** A temporary file that was written before the turn started. */
  readonly draft?: TempFile;
}

/** One execution of a turn's steps. A synchronous call for the path may start another one. */
interface Attempt {
  state: "writing" | "publishing" | "copying" | "published";
  /** Why the attempt failed, if it is still cleaning up. */
  failure?: { readonly error: unknown };
  temp?: TempFile;
  target?: Target;
}

/**
 * Replaces a file when its turn comes, and waits until the new content is as durable as requested.
 */
export function replace(request: WriteRequest, data: Data): Promise<void> {
  return takeTurn(queueKey(request), new Replacement(request, data));
}

/** The synchronous form of {@linkcode replace}. */
export function replaceSync(request: WriteRequest, content: Content): void {
  try {
    takeTurnSync(queueKey(request), new Replacement(request, { content }));
  } catch (error) {
    throw failure(error, request, "take over"); // Other failures already have their step.
  }
}

class Replacement implements Turn<void> {
  readonly #request: WriteRequest;
  readonly #data: Data;
  #attempt: Attempt | undefined;

  constructor(request: WriteRequest, data: Data) {
    this.#request = request;
    this.#data = data;
  }

  get merge(): string | undefined {
    const { path, durability, mode, existing, parents, fallback, verify } = this.#request;
    if (existing === "refuse" || verify !== undefined || this.#data.draft !== undefined) {
      return undefined;
    }
    return `${durability}|${mode}|${existing}|${parents}|${fallback}|${path}`;
  }

  get signal(): AbortSignal | undefined {
    return this.#request.signal;
  }

  takeOver(): void {
    const isBlob = this.#data.blob !== undefined;
    if (!isBlob && this.#attempt?.state !== "copying") return;
    const what = isBlob
      ? "A pending write to the file has a Blob, which cannot be read synchronously"
      : "Another write is copying over the file in place and cannot be interrupted";
    throw runtime.error("EBUSY", `${what}: await that write first`, this.#request.path);
  }

  *steps(): Steps<void> {
    const earlier = this.#attempt;
    if (earlier?.failure !== undefined) throw earlier.failure.error;
    if (earlier?.state === "published") return;
    const { content, blob, draft } = this.#data;
    const attempt: Attempt = this.#attempt = { state: "writing", ...earlier };
    if (attempt.state === "publishing") return yield* this.#complete(attempt);
    const bytes = blob === undefined ? content : yield* readBlob(this.#request, blob);
    // A draft is already open. If it waited here, writes that have a slot could wait for its
    // descriptor.
    const leave = (yield enterSlot(this.#request.signal, draft === undefined)) as () => void;
    try {
      yield* this.#write(attempt, bytes);
    } finally {
      leave();
    }
  }

  /**
   * Syncs the rename and the directories that were created for it. If the path is a link, syncs the
   * directory that contains the link's target, not the one that contains the link.
   */
  *finish(): Steps<void> {
    const request = this.#request;
    if (request.durability !== "durable" || runtime.windows) return;
    const { path } = this.#attempt!.target!;
    const sync = function* (directory: string): Steps<void> {
      try {
        const open = yield* opened(request, (fs) => fs.openDir(directory));
        try {
          yield (_, isSync) => open.sync(isSync);
        } finally {
          yield* closeQuietly(open);
        }
      } catch (error) {
        if (failedWith(error, UNSYNCABLE)) return;
        throw failure(error, request, "fsync directory", { replaced: true });
      }
    };
    const leave = (yield enterSlot()) as () => void;
    try {
      yield* syncNames(path, sync);
    } finally {
      leave();
    }
  }

  *#write(attempt: Attempt, content: Content | undefined): Steps<void> {
    const [request, { draft }] = [this.#request, this.#data];
    const check = () => this.#check(attempt);
    let temp = draft;
    try {
      check();
      const target = attempt.target = yield* prepareTarget(request);
      check();
      if (content !== undefined) {
        temp = yield* TempFile.create(request, target);
        yield* temp.append(content, check);
      }
      attempt.temp = temp!;
      yield* temp!.seal(target.attributes, check);
      yield* temp!.close();
      yield* this.#publish(attempt, temp!, target);
    } catch (error) {
      const isCurrent = attempt === this.#attempt;
      if (isCurrent) attempt.failure = { error };
      // The attempt that took over uses the same draft.
      if (temp !== undefined && (isCurrent || draft === undefined)) yield* temp.discard();
      throw error;
    }
  }

  /**
   * Renames or links the file into place, or copies it over a mount point. Nothing may happen
   * between the lock check and the rename or link.
   */
  *#publish(attempt: Attempt, temp: TempFile, target: Target): Steps<void> {
    const request = this.#request;
    const { path, info } = target;
    attempt.state = "publishing";
    const check = () => {
      this.#check(attempt);
      request.verify?.(path);
    };
    check();
    // Windows never replaces a read-only file.
    const isReadOnly = info !== undefined && (info.mode & 0o200) === 0;
    const isNew = request.existing === "refuse";
    try {
      if (isNew) yield* temp.link(path);
      else yield* temp.publish(path, isReadOnly ? 0 : RENAME_RETRY_MS, check);
    } catch (error) {
      if (mayCopyInPlace(request, error, temp, target)) {
        this.#check(attempt);
        attempt.state = "copying";
        yield* copyInPlace(request, temp, target);
      } else {
        const unsupported = isNew && failedWith(error, LINK_REFUSALS)
          ? runtime.error(
            "ENOTSUP",
            "The file system does not support hard links, which are required by 'createNew'",
            path,
          )
          : undefined;
        throw failure(unsupported ?? error, request, isNew ? "link" : "rename");
      }
    }
    attempt.state = "published";
    if (isNew) yield* temp.discard();
  }

  /**
   * Completes an attempt whose rename or link is in flight and may already have taken effect.
   * Repeats the call; if that fails, inspects the file to determine whether the first call took
   * effect.
   */
  *#complete(attempt: Attempt): Steps<void> {
    const { temp, target } = attempt as Required<Attempt>;
    try {
      yield* this.#publish(attempt, temp, target);
    } catch (error) {
      const own = runtime.sync.lstat(temp.path);
      // Once the temporary file is removed, the call in flight can no longer take effect.
      yield* temp.discard();
      const now = runtime.sync.lstat(target.path);
      const isPublished = own === undefined
        ? now !== undefined && now.id !== target.info?.id && this.#request.existing !== "refuse"
        : now?.id === own.id;
      if (!isPublished) throw error;
    }
  }

  /** Throws if the attempt must not continue. */
  #check(attempt: Attempt): void {
    if (attempt !== this.#attempt) throw new Error("A synchronous call has taken over");
    throwIfAborted(this.#request.signal);
  }
}
