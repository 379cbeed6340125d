import { runtime } from "../../runtime/mod.ts";
import type { OpenFile } from "../../runtime/types.ts";
import { throwIfAborted, untilAborted } from "../base/abort.ts";
import {
  areSame,
  ATTRIBUTE_REFUSALS,
  type Attributes,
  firstMode,
  isSameOwner,
  setAttributes,
} from "./attributes.ts";
import { type Content, SLICE_BYTES } from "./content.ts";
import { codeOf, failedWith } from "../base/errors.ts";
import { trackTemp, untrackTemp } from "./exit_cleanup.ts";
import { failure, step, type WriteRequest } from "./request.ts";
import { call, type Steps, TakenOver } from "../base/steps.ts";
import type { Target } from "./target.ts";
import { tempPath } from "./temp_name.ts";
import { retryRefused } from "../base/retry.ts";

/** How long Windows is asked to move or remove a file that a scanner has open, in milliseconds. */
export const TEMP_RETRY_MS = 1_000;

/** More names that are taken, of 64 random bits each, are no accident. */
const MAX_NAMES = 16;

/** Codes that a call which opens and writes owes to the write: open(2) hardly ever has them. */
const OF_WRITES = new Set(["EDQUOT", "EFBIG", "EIO", "ENOSPC"]);

/** A temporary sibling on its way to replace its target. */
export interface TempFile {
  readonly path: string;
  file: OpenFile | undefined;
  /** Which file it is; told when it is closed before its turn, for {@linkcode reopen}. */
  id: string | undefined;
  /** What it has been made like. */
  attributes: Attributes | undefined;
  synced: boolean;
}

/** Creates a temporary file beside `target`. */
export function* createTemp(
  request: WriteRequest,
  { path: target, attributes }: Target,
): Steps<TempFile> {
  const mode = firstMode(attributes);
  for (let names = 1;; names++) {
    const temp = newTemp(target);
    try {
      temp.file = (yield (fs) => fs.create(temp.path, mode)) as OpenFile;
      return temp;
    } catch (error) {
      if (error instanceof TakenOver && error.result !== undefined) {
        temp.file = error.result as OpenFile;
        yield* discardTemp(temp);
      }
      untrackTemp(temp.path); // It is another's, or is not there.
      if (codeOf(error) !== "EEXIST" || names === MAX_NAMES) throw failure(error, request, "open");
    }
  }
}

/**
 * Creates and writes a temporary file in one call, where the platform has one and nothing is to
 * be done to the file after it. Undefined if it has to be done step by step.
 */
export function* createWhole(
  request: WriteRequest,
  { path: target, attributes }: Target,
  content: Content,
): Steps<TempFile | undefined> {
  const { mode, owner } = attributes;
  if (content.isBlob || content.length > SLICE_BYTES) return undefined;
  if (mode !== undefined && mode !== firstMode(attributes)) return undefined;
  const temp = newTemp(target);
  const bytes = content.slice(0) as Uint8Array;
  try {
    yield (fs) => fs.writeNew!(temp.path, bytes, mode);
    content.slice(content.length);
  } catch (error) {
    if (codeOf(error) === "EEXIST") {
      untrackTemp(temp.path); // Another's file, not to be removed.
      return undefined;
    }
    yield* discardTemp(temp);
    if (mode !== undefined && failedWith(error, ATTRIBUTE_REFUSALS)) return undefined;
    throw failure(error, request, failedWith(error, OF_WRITES) ? "write" : "open");
  }
  temp.attributes = attributes;
  if (owner === undefined) return temp;
  try {
    const now = yield* step(request, "lstat", (fs) => fs.lstat(temp.path));
    if (now !== undefined && isSameOwner(now, owner) && now.mode === mode) return temp;
  } catch (error) {
    yield* discardTemp(temp);
    throw error;
  }
  yield* discardTemp(temp);
  return undefined;
}

/**
 * Writes all of `content`, however few bytes each call takes.
 *
 * @param takenOver Ends the wait for a Blob's bytes, which may never come.
 */
export function* append(
  request: WriteRequest,
  temp: TempFile,
  content: Content,
  takenOver?: AbortSignal,
): Steps<void> {
  const file = temp.file!;
  // Of a missing file Bun makes an empty Blob, which cannot be read.
  if (content.isBlob && content.length === 0) yield () => content.slice(0);
  for (let offset = 0; offset < content.length;) {
    throwIfAborted(request.signal);
    const bytes = content.isBlob
      ? yield* readBlob(content, offset, [request.signal, takenOver])
      : content.slice(offset) as Uint8Array;
    let written: number;
    try {
      written = (yield () => file.write(bytes)) as number;
    } catch (error) {
      if (codeOf(error) === "EINTR") continue; // Nothing was written; Deno does not try again.
      throw failure(error, request, "write");
    }
    // Bytes that have gone since are none that a disk does not take.
    if (!content.isBlob) content.slice(offset);
    if (written === 0) {
      throw failure(runtime.error("EIO", "No bytes were taken", temp.path), request, "write");
    }
    offset += written;
  }
  // Once more after the last call: bytes that went while it ran may not have been written.
  if (!content.isBlob) content.slice(content.length);
}

/** Bytes of a Blob, which is read anew when one of a file found no descriptor left. */
function readBlob(
  content: Content,
  offset: number,
  signals: (AbortSignal | undefined)[],
): Steps<Uint8Array> {
  const read = async () => await content.slice(offset);
  return call(() => signals.reduce((bytes, signal) => untilAborted(bytes, signal), read()));
}

/** Sets owner and mode, and gets the file onto the disk; what is done already is not done again. */
export function* setAttributesAndSync(
  request: WriteRequest,
  temp: TempFile,
  attributes: Attributes,
): Steps<void> {
  const isChanged = !areSame(temp.attributes, attributes);
  const needsSync = request.durability !== "none" && (isChanged || !temp.synced);
  if (!isChanged && !needsSync) return;
  if (temp.file === undefined) yield* reopen(request, temp);
  const file = temp.file!;
  // Before the sync, which is what gets them onto the disk too.
  if (isChanged) yield () => setAttributes(request, file, attributes);
  // Once: after a failed fsync the kernel may forget what it could not write, and the
  // next one succeeds without it (https://lwn.net/Articles/752063/).
  if (needsSync) yield* step(request, "fsync", () => file.sync());
  temp.attributes = attributes;
  temp.synced = needsSync;
}

/** Opens a file that was closed before its turn, and by then has to be made like another one. */
function* reopen(request: WriteRequest, temp: TempFile): Steps<void> {
  // Its mode may forbid its owner the one or the other.
  for (const access of ["read", "write"] as const) {
    try {
      temp.file = (yield (fs) => fs.openExisting(temp.path, access)) as OpenFile;
      break;
    } catch (error) {
      if (error instanceof TakenOver) temp.file = error.result as OpenFile | undefined;
      if (codeOf(error) !== "EACCES" || access === "write") throw failure(error, request, "open");
    }
  }
  if (temp.file!.stat().id === temp.id) return;
  const error = runtime.error("ESTALE", "The temporary file was replaced", temp.path);
  throw failure(error, request, "open");
}

/** Closes a file before its turn, so that it can be opened again. */
export function* setAside(request: WriteRequest, temp: TempFile): Steps<void> {
  temp.id = (yield* step(request, "fstat", () => temp.file!.stat())).id;
  yield* closeTemp(request, temp);
}

/** Closes the file; some file systems tell only now that the disk is full. */
export function* closeTemp(request: WriteRequest, temp: TempFile): Steps<void> {
  const file = temp.file;
  temp.file = undefined;
  if (file === undefined) return;
  try {
    yield () => file.close();
  } catch (error) {
    throw failure(error, request, "close");
  }
}

/** Removes what there is of a temporary file. It never fails, or it would hide the first error. */
export function* discardTemp(temp: TempFile): Steps<void> {
  yield* abandonTemp(temp);
  try {
    yield* retryRefused(TEMP_RETRY_MS, (fs) => fs.remove(temp.path));
  } catch {
    // It was not created, or is left for sweepTempFiles().
  }
  untrackTemp(temp.path);
}

/** Closes the file for who does not care any more whether that fails. */
export function* abandonTemp(temp: TempFile): Steps<void> {
  const file = temp.file;
  temp.file = undefined;
  try {
    if (file !== undefined) yield () => file.close();
  } catch {
    // The descriptor is gone all the same, close(2).
  }
}

function newTemp(target: string): TempFile {
  const path = tempPath(target);
  trackTemp(path);
  return { path, file: undefined, id: undefined, attributes: undefined, synced: false };
}
