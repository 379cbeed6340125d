import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import { throwIfAborted } from "../base/abort.ts";
import type { Content } from "./content.ts";
import { syncDirectories } from "./directories.ts";
import { codeOf } from "../base/errors.ts";
import { untrackTemp } from "./exit_cleanup.ts";
import { copyInPlace } from "./in_place.ts";
import { failure, step, type WriteRequest } from "./request.ts";
import { type Call, run, runSync, type Steps } from "../base/steps.ts";
import { moveAside } from "./take_over.ts";
import { inspectTarget, type Target, withParents } from "./target.ts";
import {
  abandonTemp,
  append,
  closeTemp,
  createTemp,
  createWhole,
  discardTemp,
  setAttributesAndSync,
  type TempFile,
} from "./temp_file.ts";
import { queueKey, type TakeOver, takeTurn, takeTurnSync, type Turn } from "../order/path_queue.ts";
import { retryRefused } from "../base/retry.ts";

/** How long Windows is asked to rename over a target that others have open, in milliseconds. */
const RENAME_RETRY_MS = 8_000;

/** One go at a replacement; another one begins when a synchronous call takes over. */
interface Attempt {
  state: "writing" | "publishing" | "copying" | "landed";
  takenOver: boolean;
  /** Tells a wait for the bytes of a Blob that they are not wanted any more. */
  readonly cut: AbortController | undefined;
  /** Why it has failed, while it removes what it has begun. */
  failure?: { readonly error: unknown };
  temp?: TempFile;
  target?: Target;
}

/** A file that is to be replaced, by content in memory or by a temporary file that is written. */
export class Replacement implements Turn {
  readonly #request: WriteRequest;
  readonly #content: Content | undefined;
  /** Written and sealed, and not this replacement's to discard while it may be taken over. */
  #written: { readonly temp: TempFile; readonly target: Target } | undefined;
  #attempt!: Attempt;
  /** Those that were begun with asynchronous calls, each cut short but the last. */
  readonly #begun: Promise<void>[] = [];
  #wasTakenOver = false;
  #finished: Promise<void> | undefined;

  constructor(
    request: WriteRequest,
    content: Content | undefined,
    written?: { temp: TempFile; target: Target },
  ) {
    this.#request = request;
    this.#content = content;
    this.#written = written;
  }

  get merge(): string | undefined {
    const { path, durability, mode, createNew, symlinks, parents, fallback, verify } =
      this.#request;
    if (createNew || verify !== undefined || this.#content === undefined) return undefined;
    return `${durability}|${mode}|${symlinks}|${parents}|${fallback}|${path}`;
  }

  get counted(): boolean {
    return this.#content !== undefined;
  }

  get asyncOnly(): boolean {
    return this.#written === undefined && this.#content!.isBlob;
  }

  get signal(): AbortSignal | undefined {
    return this.#request.signal;
  }

  carryOut(): Promise<void> {
    const attempt = this.#attempt = newAttempt(this.asyncOnly);
    const isTakenOver = () => attempt.takenOver;
    const underWay = run(this.#steps(attempt), this.#request.signal, isTakenOver);
    this.#begun.push(underWay);
    return underWay;
  }

  carryOutSync(): void {
    runSync(this.#steps(this.#attempt = newAttempt(false)));
  }

  failure(error: Error): unknown {
    return failure(error, this.#request, "take over");
  }

  takeOver(): TakeOver {
    const attempt = this.#attempt;
    this.#wasTakenOver = true;
    if (attempt.failure !== undefined) return attempt.failure;
    if (attempt.state === "copying") {
      const message = "Another write is copying over it in place, which cannot be cut short";
      throw failure(
        runtime.error("EBUSY", message, this.#request.path),
        this.#request,
        "take over",
      );
    }
    // Whether its mode was changed by now is not known.
    if (this.#written !== undefined) this.#written.temp.attributes = undefined;
    const landed = attempt.state === "landed" || this.#hasLanded(attempt);
    attempt.takenOver = true;
    attempt.cut?.abort();
    return landed ? "landed" : "unfinished";
  }

  /** Whether a rename or link has happened that may still be on its way; if not, it will not. */
  #hasLanded({ state, temp, target }: Attempt): boolean {
    if (state !== "publishing") return false;
    const aside = runSync(moveAside(this.#request, temp!, target!));
    if (typeof aside !== "string") this.#written = { temp: aside, target: target! };
    return aside === "landed";
  }

  /** Takes its turn, and waits until the new content is as durable as asked for. */
  async write(): Promise<void> {
    try {
      const carriedOut = await takeTurn(queueKey(this.#request), this);
      if (!carriedOut.isFinished) await carriedOut.finish();
    } finally {
      if (this.#wasTakenOver) await this.#cleanedUp();
    }
  }

  /** Carries it out now. */
  writeSync(): void {
    takeTurnSync(queueKey(this.#request), this);
    if (this.#request.durability === "durable") runSync(this.#syncSteps());
  }

  get isFinished(): boolean {
    return this.#request.durability !== "durable" && !this.#wasTakenOver;
  }

  finish(): Promise<void> {
    return this.#finished ??= this.#cleanedUp().then(() => run(this.#syncSteps()));
  }

  /** Waits until what was taken over has removed what it had begun, or has failed to. */
  async #cleanedUp(): Promise<void> {
    await Promise.allSettled(this.#begun);
  }

  *#syncSteps(): Steps<void> {
    if (this.#request.durability !== "durable") return;
    const { path, createdDirs } = this.#attempt.target!;
    const { createdDirs: before = [] } = this.#request;
    yield* syncDirectories(this.#request, path, [...createdDirs, ...before]);
  }

  *#steps(attempt: Attempt): Steps<void> {
    const request = this.#request;
    // A copy, since who takes over has one of its own: a handle is good for one form of calls.
    let temp: TempFile | undefined = this.#written && { ...this.#written.temp };
    try {
      throwIfAborted(request.signal);
      const target = attempt.target = this.#asSeen(
        yield* withParents(request, inspectTarget(request)),
      );
      throwIfAborted(request.signal);
      const inOneCall = runtime.async.writeNew !== undefined && request.durability === "none";
      if (inOneCall) temp ??= yield* createWhole(request, target, this.#content!);
      attempt.temp = temp ??= yield* createTemp(request, target);
      if (temp.file !== undefined) {
        yield* append(request, temp, this.#content!, attempt.cut?.signal);
      }
      yield* setAttributesAndSync(request, temp, target.attributes);
      yield* closeTemp(request, temp);
      yield* this.#publish(attempt, temp, target);
    } catch (error) {
      // Told to who takes over now: what is left of it is on its way to be removed.
      if (!attempt.takenOver) attempt.failure = { error };
      if (temp !== undefined) {
        // Who has taken over goes on with what was written.
        const goesOn = attempt.takenOver && temp.path === this.#written?.temp.path;
        yield* goesOn ? abandonTemp(temp) : discardTemp(temp);
      }
      throw error;
    }
    untrackTemp(temp.path);
  }

  /** If the target has gone since its replacement was begun, its mode and owner count still. */
  #asSeen(now: Target): Target {
    const seen = this.#written?.target;
    if (seen === undefined) return now;
    const attributes = now.info === undefined ? seen.attributes : now.attributes;
    return { ...now, attributes, createdDirs: [...now.createdDirs, ...seen.createdDirs] };
  }

  /** Puts the new content in the target's place. Nothing comes between the checks and the call. */
  *#publish(attempt: Attempt, temp: TempFile, target: Target): Steps<void> {
    const request = this.#request;
    request.verify?.(target.path);
    throwIfAborted(request.signal);
    attempt.state = "publishing";
    if (request.createNew) {
      // Unlike a rename, a link does not replace what somebody put there meanwhile.
      yield* step(request, "link", (fs) => fs.link(temp.path, target.path));
      attempt.state = "landed";
      yield* discardTemp(temp);
      return;
    }
    try {
      const rename: Call = (fs) => fs.rename(temp.path, target.path);
      if (runtime.windows) yield* this.#renameWithRetry(rename, target);
      else yield rename;
    } catch (error) {
      if (!this.#mayCopy(error, temp, target)) throw failure(error, request, "rename");
      attempt.state = "copying";
      yield* copyInPlace(request, temp, target);
    }
    attempt.state = "landed";
  }

  #renameWithRetry(rename: Call, { path, info }: Target): Steps<void> {
    // Windows never replaces a read-only file.
    const isReadOnly = info !== undefined && (info.mode & 0o200) === 0;
    return retryRefused(isReadOnly ? 0 : RENAME_RETRY_MS, rename, () => {
      this.#request.verify?.(path);
      throwIfAborted(this.#request.signal);
    });
  }

  #mayCopy(error: unknown, temp: TempFile, target: Target): boolean {
    if (this.#request.fallback === undefined || target.info === undefined) return false;
    const code = codeOf(error);
    return code === "EBUSY" ||
      (code === "EXDEV" && dirname(temp.path) === dirname(target.path));
  }
}

function newAttempt(isBlob: boolean): Attempt {
  return { state: "writing", takenOver: false, cut: isBlob ? new AbortController() : undefined };
}
