import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import type { OpenFile } from "../../runtime/types.ts";
import { codeOf } from "../base/errors.ts";
import { opened } from "../base/opened.ts";
import { call, type Steps } from "../base/steps.ts";
import { bytesContent } from "./content.ts";
import { failure } from "./errors.ts";
import type { WriteRequest } from "./request.ts";
import type { Found } from "./target.ts";
import { closeQuietly, type TempFile, writeAll } from "./temp_file.ts";
import { keptPath } from "./temp_name.ts";

const COPY_BYTES = 1024 * 1024;

/** Whether a rename failed because its target is a mount point, and copying over it is allowed. */
export function mayCopyInPlace(
  { fallback, mode }: WriteRequest,
  error: unknown,
  temp: TempFile,
  { path, info }: Found,
): boolean {
  // On Windows, EBUSY means that another program has the file open.
  if (fallback === undefined || info === undefined || runtime.windows) return false;
  if (mode !== undefined && mode !== info.mode) return false;
  const code = codeOf(error);
  return code === "EBUSY" || (code === "EXDEV" && dirname(temp.path) === dirname(path));
}

/**
 * Copies a finished temporary file over a target that cannot be replaced. Until the copy is done,
 * the new content also exists in a file that is neither swept nor removed at exit. If a step before
 * the copy fails, the target is unchanged and no such file remains.
 */
export function* copyInPlace(request: WriteRequest, temp: TempFile, target: Found): Steps<void> {
  const kept = keptPath(target.path);
  const open: OpenFile[] = [];
  let step = "open target";
  try {
    const to = yield* opened(request, (fs) => fs.openExisting(target.path, "write"));
    open.push(to);
    const { id, mode } = to.stat();
    // If the target has been replaced since its inspection, for example by a link, this is a
    // different file.
    if (id !== target.info?.id) {
      throw runtime.error("ESTALE", "The file was replaced by another one", target.path);
    }
    const from = yield* opened(request, (fs) => fs.openExisting(temp.path, "read"));
    open.push(from);
    step = "fsync";
    if (!temp.isSynced) yield (_, isSync) => from.sync(isSync);
    request.verify?.(target.path);
    // This is the last step before the copy, so that an earlier failure leaves no kept file. A
    // process killed before this step leaves the old content and a temporary file that can be
    // swept.
    step = "rename";
    yield* temp.publish(kept);
    step = "copy";
    yield* copy(from, to, target.path);
    // Writing clears the set-ID bits, unless the process runs as root.
    if (mode & 0o6000) yield () => to.chmod(target.path, mode);
    yield (_, isSync) => to.sync(isSync);
    while (open.length > 0) {
      const file = open.shift()!;
      yield (_, isSync) => file.close(isSync);
    }
    try {
      yield (fs) => fs.remove(kept);
    } catch {
      // The copy is complete; failing to remove the leftover is harmless.
    }
  } catch (error) {
    for (const file of open) yield* closeQuietly(file);
    throw failure(error, request, step, step === "copy" ? { temp: kept } : {});
  }
}

function* copy(from: OpenFile, to: OpenFile, path: string): Steps<void> {
  const buffer = new Uint8Array(COPY_BYTES);
  let length = 0;
  for (;;) {
    const read = yield* call((_, isSync) => from.read(buffer, isSync));
    if (read === 0) break;
    yield* writeAll(to, path, bytesContent(buffer.subarray(0, read)));
    length += read;
  }
  // Truncate last: until then, a reader may see a file that is too long, but never an empty one.
  yield (_, isSync) => to.truncate(length, isSync);
}
