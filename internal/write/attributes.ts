import type { FileInfo, OpenFile } from "../../runtime/types.ts";
import { failedWith } from "../base/errors.ts";

/** Error codes when the file system has no owners or permissions, or a sandbox forbids changes. */
const ATTRIBUTE_REFUSALS = new Set([
  "EPERM",
  "EACCES",
  "EINVAL",
  "ENOSYS",
  "ENOTSUP",
  "EOPNOTSUPP",
]);

/** The owner and group of a file. */
type Owner = Pick<FileInfo, "uid" | "gid">;

/** The mode and owner of the new file. */
export interface Attributes {
  /** Permission bits; undefined to keep those that open(2) assigns. */
  readonly mode: number | undefined;
  /** The owner and group of the file being replaced. */
  readonly owner: Owner | undefined;
}

/**
 * The mode with which a temporary file is created. The file's owner and group may still differ from
 * the target's, so the file grants its group and others only the rights that both have on the
 * target. Otherwise, a user who cannot read the target could read the new content.
 */
export function firstMode({ mode, owner }: Attributes): number | undefined {
  if (mode === undefined) return undefined;
  const both = (mode >> 3) & mode & 0o007;
  const others = owner === undefined ? mode & 0o077 : (both << 3) | both;
  // Always let the owner read the file, because Deno has to reopen it to change its mode.
  return 0o600 | (mode & 0o700) | others;
}

/** Sets the owner and mode of an open file at `path`, as far as the system allows. */
export function setAttributes(
  file: OpenFile,
  path: string,
  { mode, owner }: Attributes,
): void {
  if (mode === undefined) return;
  let now = file.stat();
  if (owner !== undefined && !isSameOwner(now, owner)) {
    // Set the owner before the mode, since chown(2) clears the set-ID bits. A process that is not
    // allowed to change the owner may still be able to set the group to one that it belongs to.
    for (const uid of new Set([owner.uid, now.uid])) {
      if (isAllowed(() => file.chown(path, uid, owner.gid))) break;
    }
    now = file.stat();
    mode = withoutOthersRights(mode, now, owner);
  }
  const wanted = mode;
  if (now.mode !== wanted) isAllowed(() => file.chmod(path, wanted));
}

/** Whether two sets of attributes are equal. */
export function areSame(a: Attributes | undefined, b: Attributes): boolean {
  return a?.mode === b.mode && a?.owner?.uid === b.owner?.uid && a?.owner?.gid === b.owner?.gid;
}

/** Whether two files have the same owner and group. */
function isSameOwner(a: Owner, b: Owner): boolean {
  return a.uid === b.uid && a.gid === b.gid;
}

/** Removes rights intended for an owner or group that the file does not have. */
function withoutOthersRights(mode: number, now: Owner, owner: Owner): number {
  if (now.uid !== owner.uid) mode &= ~0o4000;
  if (now.gid === owner.gid) return mode;
  // Members of the target's group count as others on this file, and vice versa, so both get only
  // the rights that the target grants to both.
  const both = (mode >> 3) & mode & 0o007;
  return (mode & ~0o2077) | (both << 3) | both;
}

/** Makes a change; returns false if the system refuses it. */
function isAllowed(change: () => void): boolean {
  try {
    change();
    return true;
  } catch (error) {
    if (failedWith(error, ATTRIBUTE_REFUSALS)) return false;
    throw error;
  }
}
