import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import type { Awaitable, FileSystem } from "../../runtime/types.ts";
import { codeOf, own, withContext } from "../base/errors.ts";
import type { Steps } from "../base/steps.ts";
import type { WriteRequest } from "./request.ts";

/** A call whose failure is the failure of the request. */
export function* step<T>(
  request: WriteRequest,
  name: string,
  make: (fs: FileSystem) => Awaitable<T>,
): Steps<T> {
  try {
    return (yield make) as T;
  } catch (error) {
    throw failure(error, request, name);
  }
}

/** The error of a step, with the facts of an {@linkcode AtomicWriteError} and what to do next. */
export function failure(
  error: unknown,
  request: WriteRequest,
  step: string,
  facts: { replaced?: boolean; temp?: string } = {},
): unknown {
  const { path } = request;
  const hint = hintFor(error, request, step);
  if (hint !== "") {
    const failed = own(error as Error);
    failed.message = `${failed.message.replace(/\.$/, "")}. ${hint}`;
  }
  const all = { step, target: path, replaced: false, ...facts };
  return withContext(error, `Cannot write '${path}'`, all);
}

/** The calls that change the directory. */
const DIRECTORY_STEPS = new Set(["open", "mkdir", "link", "rename"]);

/** What to do about a failure; empty if there is nothing to say. */
function hintFor(error: unknown, request: WriteRequest, step: string): string {
  const directory = dirname(request.path);
  const code = codeOf(error);
  const { name } = Object(error) as { name?: string };
  if (name === "NotCapable" || code === "ERR_ACCESS_DENIED") {
    return `Grant access to the directory '${directory}', not to the file: the name of the ` +
      "temporary file next to it is new each time";
  }
  if (runtime.windows || !DIRECTORY_STEPS.has(step)) return "";
  switch (code) {
    case "ENOENT":
      return step === "open" && !request.parents
        ? "The directory is missing: pass `parents: true` to create it"
        : "";
    case "EACCES":
      return `The directory '${directory}' must be writable, not only the file`;
    case "EPERM":
      return "The directory may be sticky and the file another user's, or one of the two may be " +
        "immutable: see `ls -ld` and `lsattr` (`chattr -i`)";
    case "EBUSY":
      if (step !== "rename") return "";
      return request.fallback === undefined
        ? 'The file is a mount point: pass `fallback: "in-place"` to copy over it'
        : "The file is a mount point whose mode is not the requested one: `chmod` it first";
    default:
      return "";
  }
}
