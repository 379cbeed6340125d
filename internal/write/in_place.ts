import { runtime } from "../../runtime/mod.ts";
import type { OpenFile } from "../../runtime/types.ts";
import { ATTRIBUTE_REFUSALS } from "./attributes.ts";
import { codeOf, failedWith } from "../base/errors.ts";
import { untrackTemp } from "./exit_cleanup.ts";
import { failure, type WriteRequest } from "./request.ts";
import { type Call, call, type Steps } from "../base/steps.ts";
import type { Found } from "./target.ts";
import type { TempFile } from "./temp_file.ts";
import { keptPath } from "./temp_name.ts";

const COPY_BYTES = 1024 * 1024;

/**
 * Copies a finished temporary file over a target that cannot be replaced, since it is a mount
 * point. While it copies, the new content is on the disk too, under a name that is neither swept
 * nor removed at exit. What fails before leaves the target as it was, and nothing is kept.
 */
export function* copyInPlace(
  request: WriteRequest,
  temp: TempFile,
  target: Found,
): Steps<void> {
  const kept = keptPath(target.path);
  const mode = runtime.windows ? undefined : request.mode;
  const open: OpenFile[] = [];
  let restore: Call | undefined;
  let step = "open";
  try {
    const to = yield* call((fs) => fs.openExisting(target.path, "write"));
    open.push(to);
    const before = to.stat();
    // A link that somebody put there meanwhile would have led us to another file.
    if (before.id !== target.info?.id) {
      throw runtime.error("ESTALE", "Was replaced by another file", target.path);
    }
    const from = yield* openToRead(temp.path);
    open.push(from);
    step = "fsync";
    if (!temp.synced) yield () => from.sync();
    // Before the copy, or who may read the old content only could read the new. Its owner keeps
    // all rights until then: Deno has to open it again to change its mode.
    const narrow = mode === undefined ? before.mode : before.mode & (mode | 0o700);
    if (narrow !== before.mode) {
      restore = () => to.chmod(before.mode);
      step = "chmod";
      yield () => to.chmod(narrow);
      step = "fsync"; // Or a power cut may leave new content with the old mode.
      yield () => to.sync();
    }
    request.verify?.(target.path);
    // Last before the copy, or each write that fails would leave one more such file. Until here a
    // kill leaves the old content, and a temporary file to sweep.
    step = "rename";
    yield (fs) => fs.rename(temp.path, kept);
    restore = undefined;
    step = "copy";
    untrackTemp(temp.path);
    yield* copy(from, to, target.path);
    // A write takes the set-id bits away, of who is not root.
    const after = mode ?? (before.mode & 0o6000 ? before.mode : undefined);
    if (after !== undefined) {
      try {
        yield () => to.chmod(after);
      } catch (error) {
        // As for a replacement: group and others have no more rights than were asked for.
        if (!failedWith(error, ATTRIBUTE_REFUSALS)) throw error;
      }
    }
    yield () => to.sync();
    while (open.length > 0) {
      const file = open.shift()!;
      yield () => file.close();
    }
    try {
      yield (fs) => fs.remove(kept);
    } catch {
      // It is a copy only by now, and all is in place: nothing to fail for.
    }
  } catch (error) {
    try {
      if (restore !== undefined) yield restore;
    } catch {
      // It has fewer rights than before, and the first error is the one to tell.
    }
    for (const file of open) {
      try {
        yield () => file.close();
      } catch {
        // The descriptor is gone all the same, close(2), and the first error is the one to tell.
      }
    }
    throw failure(error, request, step, step === "copy" ? { temp: kept } : {});
  }
}

/** Opens the finished temporary file, whose mode may forbid even its owner to read it. */
function* openToRead(path: string): Steps<OpenFile> {
  try {
    return yield* call((fs) => fs.openExisting(path, "read"));
  } catch (error) {
    if (codeOf(error) !== "EACCES") throw error;
  }
  const file = yield* call((fs) => fs.openExisting(path, "write"));
  try {
    yield () => file.chmod(0o600);
  } finally {
    yield () => file.close();
  }
  return yield* call((fs) => fs.openExisting(path, "read"));
}

function* copy(from: OpenFile, to: OpenFile, path: string): Steps<void> {
  const buffer = new Uint8Array(COPY_BYTES);
  let length = 0;
  for (;;) {
    const read = yield* call(() => from.read(buffer));
    if (read === 0) break;
    for (let offset = 0; offset < read;) {
      const rest = buffer.subarray(offset, read);
      try {
        const written = yield* call(() => to.write(rest));
        if (written === 0) throw runtime.error("EIO", "No bytes were taken", path);
        offset += written;
      } catch (error) {
        if (codeOf(error) !== "EINTR") throw error;
      }
    }
    length += read;
  }
  // Last: a reader of the old content finds it longer than before, but not empty.
  yield () => to.truncate(length);
}
