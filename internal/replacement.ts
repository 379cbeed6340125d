import { dirname } from "@std/path/dirname";
import { runtime } from "../runtime/mod.ts";
import { throwIfAborted } from "./abort.ts";
import type { Content } from "./content.ts";
import { makeDirectories, syncDirectories } from "./directories.ts";
import { codeOf } from "./errors.ts";
import { keepAtExit, removeAtExit } from "./exit_cleanup.ts";
import { copyInPlace } from "./in_place.ts";
import { failure, step, turnKey, type WriteRequest } from "./request.ts";
import { call, run, runSync, type Steps } from "./steps.ts";
import { findTarget, type Found } from "./target.ts";
import {
  abandonTemp,
  append,
  type Attributes,
  closeTemp,
  createTemp,
  createWhole,
  discardTemp,
  seal,
  TEMP_PATIENCE,
  type TempFile,
} from "./temp_file.ts";
import { tempPath } from "./temp_name.ts";
import { type TakeOver, takeTurn, takeTurnSync, type Turn } from "./turns.ts";
import { patiently } from "./windows_patience.ts";

/** How long a rename is tried on Windows while another program has the target open, in milliseconds. */
const RENAME_PATIENCE = 8_000;

/** What is to be replaced, and what its replacement has to be like. */
export interface Target extends Found {
  readonly attributes: Attributes;
  /** Directories that were made for it. */
  readonly made: readonly string[];
}

/** One go at a replacement; another one begins when a synchronous call takes over. */
interface Attempt {
  state: "writing" | "publishing" | "copying" | "landed";
  takenOver: boolean;
  /** Why it has failed, while it removes what it has begun. */
  failure: { readonly error: unknown } | undefined;
  temp: TempFile | undefined;
  target: Target | undefined;
}

/** Looks at what is to be replaced now, and refuses what must not be. */
export function* look(request: WriteRequest): Steps<Target> {
  let name = "lstat";
  let found: Found;
  try {
    const allowed = request.createNew ? "none" : request.symlinks;
    found = findTarget(request.path, allowed, (step) => name = step);
  } catch (error) {
    throw failure(error, request, name);
  }
  const { path, info } = found;
  const made = request.parents && info === undefined
    ? yield* makeDirectories(request, dirname(path))
    : [];
  const owner = info?.kind === "file" && !runtime.windows ? info : undefined;
  // Windows knows one bit of a mode, read-only, and refuses to replace such a file.
  const mode = runtime.windows ? undefined : request.mode ?? owner?.mode;
  return { path, info, attributes: { mode, owner }, made };
}

/** A file that is to be replaced, by content in memory or by a temporary file that is written. */
export class Replacement implements Turn {
  readonly #request: WriteRequest;
  readonly #content: Content | undefined;
  /** Written and sealed, and not this replacement's to discard while it may be taken over. */
  #written: { readonly temp: TempFile; readonly target: Target } | undefined;
  #attempt: Attempt = newAttempt();
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
    return [durability, mode, symlinks, parents, fallback, path].join("|");
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
    const attempt = this.#attempt = newAttempt();
    const isTakenOver = () => attempt.takenOver;
    const underWay = run(this.#steps(attempt), this.#request.signal, isTakenOver);
    this.#begun.push(underWay);
    return underWay;
  }

  carryOutSync(): void {
    runSync(this.#steps(this.#attempt = newAttempt()));
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
    const landed = attempt.state === "landed" ||
      (attempt.state === "publishing" && runSync(this.#moveAside(attempt)));
    attempt.takenOver = true;
    // Whether its mode was changed by now is not known.
    if (this.#written !== undefined) this.#written.temp.attributes = undefined;
    return landed ? "landed" : "unfinished";
  }

  /** Takes its turn, and waits until the new content is as durable as asked for. */
  async write(): Promise<void> {
    try {
      const carriedOut = await takeTurn(turnKey(this.#request), this);
      if (!carriedOut.isFinished) await carriedOut.finish();
    } finally {
      if (this.#wasTakenOver) await this.#cleanedUp();
    }
  }

  /** Carries it out now. */
  writeSync(): void {
    takeTurnSync(turnKey(this.#request), this);
    runSync(this.#syncSteps());
  }

  get isFinished(): boolean {
    return this.#request.durability !== "durable" && !this.#wasTakenOver;
  }

  finish(): Promise<void> {
    return this.#finished ??= this.#cleanedUp().then(() => run(this.#syncSteps()));
  }

  /** Waits until all that was taken over has removed what it had begun; its failures are nobody's any more. */
  async #cleanedUp(): Promise<void> {
    await Promise.allSettled(this.#begun);
  }

  *#syncSteps(): Steps<void> {
    if (this.#request.durability !== "durable") return;
    const { path, made } = this.#attempt.target!;
    const { made: before = [] } = this.#request;
    yield* syncDirectories(this.#request, path, [...made, ...before]);
  }

  *#steps(attempt: Attempt): Steps<void> {
    const request = this.#request;
    throwIfAborted(request.signal);
    const target = attempt.target = yield* this.#look();
    // A copy, since who takes over has one of its own: a handle is good for one form of calls.
    const temp = attempt.temp = this.#written
      ? { ...this.#written.temp }
      : yield* this.#write(target);
    try {
      yield* seal(request, temp, target.attributes);
      yield* closeTemp(request, temp);
      yield* this.#publish(attempt, temp, target);
    } catch (error) {
      // Told to who takes over now: what is left of it is on its way to be removed.
      if (!attempt.takenOver) attempt.failure = { error };
      // Who has taken over goes on with what was written.
      const goesOn = attempt.takenOver && temp.path === this.#written?.temp.path;
      yield* goesOn ? abandonTemp(temp) : discardTemp(temp);
      throw error;
    }
    keepAtExit(temp.path);
  }

  *#look(): Steps<Target> {
    const now = yield* look(this.#request);
    const seen = this.#written?.target;
    if (seen === undefined) return now;
    // Of a file that has gone since, mode and owner count as they were seen.
    const attributes = now.info === undefined ? seen.attributes : now.attributes;
    return { ...now, attributes, made: [...now.made, ...seen.made] };
  }

  *#write(target: Target): Steps<TempFile> {
    const [request, content] = [this.#request, this.#content!];
    throwIfAborted(request.signal);
    if (runtime.async.writeNew !== undefined && request.durability === "none") {
      const whole = yield* createWhole(request, target.path, target.attributes, content);
      if (whole !== undefined) return whole;
    }
    const temp = yield* createTemp(request, target.path, target.attributes);
    try {
      yield* append(request, temp, content);
    } catch (error) {
      yield* discardTemp(temp);
      throw error;
    }
    return temp;
  }

  /** Puts the new content in the target's place. Nothing comes between the checks and the call. */
  *#publish(attempt: Attempt, temp: TempFile, target: Target): Steps<void> {
    const request = this.#request;
    request.verify?.();
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
      yield* this.#rename(temp.path, target);
    } catch (error) {
      if (!this.#mayCopy(error, temp, target)) throw failure(error, request, "rename");
      attempt.state = "copying";
      yield* copyInPlace(request, temp, target);
    }
    attempt.state = "landed";
  }

  *#rename(from: string, { path, info }: Target): Steps<void> {
    // Windows never replaces a read-only file.
    const isReadOnly = info !== undefined && (info.mode & 0o200) === 0;
    yield* patiently(isReadOnly ? 0 : RENAME_PATIENCE, (fs) => fs.rename(from, path), () => {
      this.#request.verify?.();
      throwIfAborted(this.#request.signal);
    });
  }

  #mayCopy(error: unknown, temp: TempFile, target: Target): boolean {
    if (this.#request.fallback === undefined || target.info === undefined) return false;
    const code = codeOf(error);
    return code === "EBUSY" ||
      (code === "EXDEV" && dirname(temp.path) === dirname(target.path));
  }

  /**
   * Gets the temporary file out of the way of a rename or link that is in the thread pool: that
   * one has happened already, or will find nothing. Whether it has happened.
   */
  *#moveAside({ temp, target }: Attempt): Steps<boolean> {
    const aside: TempFile = { ...temp!, path: tempPath(target!.path), file: undefined };
    removeAtExit(aside.path);
    try {
      // A link survives a rename of the file that it is made from: so remove that.
      if (this.#request.createNew) {
        yield* call((fs) => fs.link(temp!.path, aside.path));
        yield* patiently(TEMP_PATIENCE, (fs) => fs.remove(temp!.path));
      } else yield* patiently(TEMP_PATIENCE, (fs) => fs.rename(temp!.path, aside.path));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      keepAtExit(temp!.path);
      yield* discardTemp(aside);
      return true;
    }
    keepAtExit(temp!.path);
    aside.id = (yield* call((fs) => fs.lstat(aside.path)))?.id;
    if (this.#request.createNew) {
      const there = yield* call((fs) => fs.lstat(target!.path));
      if (there !== undefined && there.id === aside.id) {
        yield* discardTemp(aside);
        return true;
      }
    }
    this.#written = { temp: aside, target: target! };
    return false;
  }
}

function newAttempt(): Attempt {
  return {
    state: "writing",
    takenOver: false,
    failure: undefined,
    temp: undefined,
    target: undefined,
  };
}
