import type { FileInfo, OpenFile } from "../../runtime/types.ts";
import { failedWith } from "../base/errors.ts";
import { failure, type WriteRequest } from "./request.ts";

/** A file system without owners or permissions, or a sandbox, refuses chown and chmod like this. */
export const ATTRIBUTE_REFUSALS: ReadonlySet<string> = new Set([
  "EPERM",
  "EACCES",
  "EINVAL",
  "ENOSYS",
  "ENOTSUP",
  "EOPNOTSUPP",
]);

/** Whose a file is. */
interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** What the new file is to be like. */
export interface Attributes {
  /** Permission bits; undefined for those that open(2) gives. */
  readonly mode: number | undefined;
  /** Owner and group of the file that is replaced. */
  readonly owner: Owner | undefined;
}

/**
 * The mode that a temporary file begins with. Its owner and group may not be the target's yet: so
 * group and others get only what both have, or somebody could read who may not read the target.
 */
export function firstMode({ mode, owner }: Attributes): number | undefined {
  if (mode === undefined) return undefined;
  const both = (mode >> 3) & mode & 0o007;
  const others = owner === undefined ? mode & 0o077 : (both << 3) | both;
  // The owner can read it in any case: Deno has to open it again to change its mode.
  return 0o600 | (mode & 0o700) | others;
}

/** Makes an open file what it is to be like, as far as that is allowed. */
export function setAttributes(
  request: WriteRequest,
  file: OpenFile,
  { mode, owner }: Attributes,
): void {
  if (mode === undefined) return;
  let now = statOf(request, file);
  if (owner !== undefined && !isSameOwner(now, owner)) {
    // Before the mode, since chown(2) clears the set-id bits. Who may not give a file
    // away may still give it to a group of theirs.
    for (const uid of new Set([owner.uid, now.uid])) {
      if (isAllowed(request, "chown", () => file.chown(uid, owner.gid))) break;
    }
    now = statOf(request, file);
    mode = withoutOthersRights(mode, now, owner);
  }
  const wanted = mode;
  if (now.mode !== wanted) isAllowed(request, "chmod", () => file.chmod(wanted));
}

/** Whether a file that was made like `a` need not be changed to be like `b`. */
export function areSame(a: Attributes | undefined, b: Attributes): boolean {
  if (a === undefined || a.mode !== b.mode) return false;
  if (a.owner === undefined || b.owner === undefined) return a.owner === b.owner;
  return isSameOwner(a.owner, b.owner);
}

/** Whether two files are of one owner and group. */
export function isSameOwner(a: Owner, b: Owner): boolean {
  return a.uid === b.uid && a.gid === b.gid;
}

function statOf(request: WriteRequest, file: OpenFile): FileInfo {
  try {
    return file.stat();
  } catch (error) {
    throw failure(error, request, "fstat");
  }
}

/** What was granted to one owner or group must not go to another. */
function withoutOthersRights(mode: number, now: Owner, owner: Owner): number {
  if (now.uid !== owner.uid) mode &= ~0o4000;
  if (now.gid !== owner.gid) mode &= ~0o2070 | ((mode & 0o007) << 3);
  return mode;
}

/** Whether a change was not refused. */
function isAllowed(request: WriteRequest, step: string, change: () => void): boolean {
  try {
    change();
    return true;
  } catch (error) {
    if (failedWith(error, ATTRIBUTE_REFUSALS)) return false;
    throw failure(error, request, step);
  }
}
