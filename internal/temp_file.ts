import { runtime } from "../runtime/mod.ts";
import type { Awaitable, FileInfo, OpenFile } from "../runtime/types.ts";
import { throwIfAborted } from "./abort.ts";
import { type Content, SLICE_BYTES } from "./content.ts";
import { codeOf, failedWith } from "./errors.ts";
import { keepAtExit, removeAtExit } from "./exit_cleanup.ts";
import { failure, step, type WriteRequest } from "./request.ts";
import { call, isPromise, type Steps } from "./steps.ts";
import { tempPath } from "./temp_name.ts";
import { patiently } from "./windows_patience.ts";

/** How long Windows is asked to move or remove a temporary file that a scanner has open, in milliseconds. */
export const TEMP_PATIENCE = 1_000;

/** More names that are taken, of 64 random bits each, are no accident. */
const MAX_NAMES = 16;

/** A file system without owners or permissions, or a sandbox, refuses chown and chmod like this. */
const REFUSALS = new Set(["EPERM", "EACCES", "EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);

/** What write(2) fails with, and open(2) hardly ever. */
const OF_WRITES = new Set(["EDQUOT", "EFBIG", "EIO", "ENOSPC"]);

/** What the new file is to be like. */
export interface Attributes {
  /** Permission bits; undefined for those that open(2) gives. */
  readonly mode: number | undefined;
  /** Owner and group of the file that is replaced. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

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
  target: string,
  attributes: Attributes,
): Steps<TempFile> {
  const mode = firstMode(attributes);
  for (let names = 1;; names++) {
    const temp = newTemp(target);
    try {
      // Kept by the call itself, or a write that is taken over now could not close it.
      yield* call((fs) => then(fs.create(temp.path, mode), (file) => temp.file = file));
      return temp;
    } catch (error) {
      if (temp.file !== undefined) yield* discardTemp(temp);
      keepAtExit(temp.path); // It is another's, or is not there.
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
  target: string,
  attributes: Attributes,
  content: Content,
): Steps<TempFile | undefined> {
  const { mode, owner } = attributes;
  if (content.isBlob || content.length > SLICE_BYTES) return undefined;
  if (mode !== undefined && mode !== firstMode(attributes)) return undefined;
  const temp = newTemp(target);
  const bytes = content.slice(0) as Uint8Array;
  try {
    yield* call((fs) => fs.writeNew!(temp.path, bytes, mode));
    content.slice(content.length);
  } catch (error) {
    if (codeOf(error) === "EEXIST") {
      keepAtExit(temp.path); // Another's file, not to be removed.
      return undefined;
    }
    yield* discardTemp(temp);
    if (mode !== undefined && failedWith(error, REFUSALS)) return undefined;
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

/** Writes all of `content`, however few bytes each call takes. */
export function* append(request: WriteRequest, temp: TempFile, content: Content): Steps<void> {
  const file = temp.file!;
  // Of a missing file Bun makes an empty Blob, which cannot be read.
  if (content.isBlob && content.length === 0) yield* call(() => content.slice(0));
  for (let offset = 0; offset < content.length;) {
    throwIfAborted(request.signal);
    const slice = content.slice(offset);
    const bytes = content.isBlob ? yield* call(() => slice) : slice as Uint8Array;
    let written: number;
    try {
      written = yield* call(() => file.write(bytes));
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

/** Makes the file what it is to be like, and gets it onto the disk; what is done already is not done again. */
export function* seal(
  request: WriteRequest,
  temp: TempFile,
  attributes: Attributes,
): Steps<void> {
  const isChanged = !isSame(temp.attributes, attributes);
  const needsSync = request.durability !== "none" && (isChanged || !temp.synced);
  if (!isChanged && !needsSync) return;
  if (temp.file === undefined) yield* reopen(request, temp);
  const file = temp.file!;
  // Before the sync, which is what gets them onto the disk too.
  if (isChanged && attributes.mode !== undefined) {
    yield* setAttributes(request, file, attributes, attributes.mode);
  }
  // Once: after a failed fsync the kernel may forget what it could not write, and the
  // next one succeeds without it (https://lwn.net/Articles/752063/).
  if (needsSync) yield* step(request, "fsync", () => file.sync());
  temp.attributes = attributes;
  temp.synced = needsSync;
}

/** Opens a file that was closed before its turn, and by then has to be made like another one. */
function* reopen(request: WriteRequest, temp: TempFile): Steps<void> {
  yield* step(
    request,
    "open",
    (fs) => then(fs.openExisting(temp.path, "read"), (file) => temp.file = file),
  );
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
  if (file !== undefined) yield* step(request, "close", () => file.close());
}

/** Removes what there is of a temporary file. It does not fail, so that the first error is the one that is reported. */
export function* discardTemp(temp: TempFile): Steps<void> {
  yield* abandonTemp(temp);
  try {
    yield* patiently(TEMP_PATIENCE, (fs) => fs.remove(temp.path));
  } catch {
    // It was not created, or is left for sweepTempFiles().
  }
  keepAtExit(temp.path);
}

/** Closes the file for who does not care any more whether that fails. */
export function* abandonTemp(temp: TempFile): Steps<void> {
  const file = temp.file;
  temp.file = undefined;
  try {
    if (file !== undefined) yield* call(() => file.close());
  } catch {
    // The descriptor is gone all the same, close(2).
  }
}

function newTemp(target: string): TempFile {
  const path = tempPath(target);
  removeAtExit(path);
  return { path, file: undefined, id: undefined, attributes: undefined, synced: false };
}

/**
 * The mode that a temporary file begins with. Its owner and group may not be the target's yet: so
 * group and others get only what both have, or somebody could read who may not read the target.
 */
function firstMode({ mode, owner }: Attributes): number | undefined {
  if (mode === undefined) return undefined;
  const both = (mode >> 3) & mode & 0o007;
  const others = owner === undefined ? mode & 0o077 : (both << 3) | both;
  // The owner can read it in any case: Deno has to open it again to change its mode.
  return 0o600 | (mode & 0o700) | others;
}

function* setAttributes(
  request: WriteRequest,
  file: OpenFile,
  { owner }: Attributes,
  mode: number,
): Steps<void> {
  let now = yield* step(request, "fstat", () => file.stat());
  if (owner !== undefined && !isSameOwner(now, owner)) {
    // Before the mode, since chown(2) clears the set-id bits. Who may not give a file
    // away may still give it to a group of theirs.
    for (const uid of new Set([owner.uid, now.uid])) {
      if (yield* allowed(request, "chown", () => file.chown(uid, owner.gid))) break;
    }
    now = yield* step(request, "fstat", () => file.stat());
    mode = withoutOthersRights(mode, now, owner);
  }
  const wanted = mode;
  if (now.mode !== wanted) yield* allowed(request, "chmod", () => file.chmod(wanted));
}

/** What was granted to one owner or group must not go to another. */
function withoutOthersRights(
  mode: number,
  now: FileInfo,
  owner: { uid: number; gid: number },
): number {
  if (now.uid !== owner.uid) mode &= ~0o4000;
  if (now.gid !== owner.gid) mode &= ~0o2070 | ((mode & 0o007) << 3);
  return mode;
}

/** A {@linkcode step} that may be refused: whether it was not. */
function* allowed(
  request: WriteRequest,
  name: string,
  make: () => Awaitable<void>,
): Steps<boolean> {
  try {
    yield* call(make);
    return true;
  } catch (error) {
    if (failedWith(error, REFUSALS)) return false;
    throw failure(error, request, name);
  }
}

function isSame(a: Attributes | undefined, b: Attributes): boolean {
  if (a === undefined || a.mode !== b.mode) return false;
  if (a.owner === undefined || b.owner === undefined) return a.owner === b.owner;
  return isSameOwner(a.owner, b.owner);
}

function isSameOwner(a: { uid: number; gid: number }, b: { uid: number; gid: number }): boolean {
  return a.uid === b.uid && a.gid === b.gid;
}

/** Hands the value on to `use`, when it is there. */
function then<T>(value: Awaitable<T>, use: (value: T) => unknown): Awaitable<unknown> {
  return isPromise(value) ? value.then(use) : use(value);
}
