import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import { codeOf, own, withContext } from "../base/errors.ts";
import type { WriteRequest } from "./request.ts";

/**
 * The error for a failed step, with the properties of an {@linkcode AtomicWriteError} and a hint.
 */
export function failure(
  error: unknown,
  request: WriteRequest,
  step: string,
  facts: { replaced?: boolean; temp?: string } = {},
): unknown {
  const { path } = request;
  const grant = `. Grant access to the directory '${dirname(path)}', not to the file: ` +
    "each write creates a temporary file with a new name there";
  const { name, message } = Object(error) as Partial<Error>;
  if (name === "NotCapable") {
    const denied = own(error as Error); // Deno's permission errors have no code.
    // If Deno names another directory, to which a link leads, it needs access to that one.
    if (message!.includes(`"${dirname(path)}`) && !message!.endsWith(grant)) {
      denied.message += grant;
    }
    return denied;
  }
  const code = codeOf(error);
  const isFileDenied = code === "ERR_ACCESS_DENIED" && step !== "fsync directory";
  const hint = isFileDenied ? grant : hintFor(code, request, step);
  const all = { step, target: path, replaced: false, ...facts };
  return withContext(error, `Cannot write '${path}'`, all, hint);
}

/** The steps that change the directory. */
const DIRECTORY_STEPS = new Set(["open", "mkdir", "link", "rename"]);

/** A hint on how to fix a failure; empty if there is none. */
function hintFor(code: string | undefined, request: WriteRequest, step: string): string {
  if (!DIRECTORY_STEPS.has(step) || runtime.windows && code !== "ENOENT") return "";
  switch (code) {
    case "ENOENT":
      if (step !== "open" || request.parents) return "";
      return ". The directory does not exist: pass 'parents: true' to create it";
    case "EACCES":
      return `. The directory '${dirname(request.path)}' must be writable, not just the file`;
    case "EPERM":
      return ". The directory may be sticky and the file owned by another user, or one of them may be " +
        "immutable: check with 'ls -ld' and 'lsattr', and use 'chattr -i'";
    case "EBUSY":
      if (step !== "rename") return "";
      return request.fallback === undefined
        ? ". The file is a mount point: pass 'fallback: \"in-place\"' to copy over it"
        : ". The file is a mount point, and its mode differs from 'mode': run 'chmod' on it first";
    default:
      return "";
  }
}
