import { runtime } from "../runtime/mod.ts";
import type { OpenFile } from "../runtime/types.ts";
import { codeOf } from "./errors.ts";
import { keepAtExit } from "./exit_cleanup.ts";
import { failure, step, type WriteRequest } from "./request.ts";
import { call, type Steps } from "./steps.ts";
import type { Found } from "./target.ts";
import type { TempFile } from "./temp_file.ts";
import { keptPath } from "./temp_name.ts";

const COPY_BYTES = 1024 * 1024;

/**
 * Copies a finished temporary file over a target that cannot be replaced, since it is a mount
 * point. The new content is on the disk all the while: under a name that is neither swept nor
 * removed at exit, until the target has it.
 */
export function* copyInPlace(
  request: WriteRequest,
  temp: TempFile,
  target: Found,
): Steps<void> {
  const kept = keptPath(target.path);
  yield* step(request, "rename", (fs) => fs.rename(temp.path, kept));
  keepAtExit(temp.path);
  const open: OpenFile[] = [];
  try {
    const from = yield* call((fs) => fs.openExisting(kept, "read"));
    open.push(from);
    if (!temp.synced) yield () => from.sync();
    const to = yield* call((fs) => fs.openExisting(target.path, "write"));
    open.push(to);
    // A link that somebody put there meanwhile would have led us to another file.
    if (to.stat().id !== target.info?.id) {
      throw runtime.error("ESTALE", "Was replaced by another file", target.path);
    }
    yield* copy(from, to, target.path);
    const { mode } = request;
    if (mode !== undefined && !runtime.windows) yield () => to.chmod(mode);
    yield () => to.sync();
    while (open.length > 0) {
      const file = open.shift()!;
      yield () => file.close();
    }
  } catch (error) {
    for (const file of open) {
      try {
        yield () => file.close();
      } catch {
        // The descriptor is gone all the same, close(2), and the first error is the one to tell.
      }
    }
    throw failure(error, request, "copy", { temp: kept });
  }
  yield* step(request, "remove", (fs) => fs.remove(kept));
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
