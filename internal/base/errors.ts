import { runtime } from "../../runtime/mod.ts";

/** The code of a failed system call, such as `"ENOENT"`, whatever realm its error is of. */
export function codeOf(error: unknown): string | undefined {
  return typeof error === "object" && error !== null ? runtime.codeOf(error) : undefined;
}

/** Whether a call failed with one of the codes. */
export function failedWith(error: unknown, codes: ReadonlySet<string>): boolean {
  return codes.has(codeOf(error) ?? "");
}

/** V8 and JavaScriptCore have this method, but not all versions of the types declare it. */
const { captureStackTrace } = Error as {
  captureStackTrace?: (error: object, above?: unknown) => void;
};

/** Errors that the library created or added context to, and whose stack it may replace. */
const ownErrors = new WeakSet<object>();

/** Marks an error as the library's own, for {@linkcode atCaller}. */
export function own<T extends Error>(error: T): T {
  ownErrors.add(error);
  return error;
}

/**
 * Adds context to the error of a failed system call: `what` failed before its message, a `hint` after
 * it, and `facts` as properties. Its class and `code` stay. Errors that already have context, and
 * those of a permission that Deno denied, which have no `code`, are left unchanged.
 */
export function withContext(
  error: unknown,
  what: string,
  facts: object = {},
  hint: string = "",
): unknown {
  const code = codeOf(error);
  if (code === undefined || ownErrors.has(error as object)) return error;
  const failed = own(error as Error);
  failed.message = `${what}: ${failed.message}${hint}`;
  // The stack includes the message, and was rendered with the old one.
  captureStackTrace?.(failed);
  return Object.assign(failed, { code, ...facts });
}

/**
 * Does the work of a public function, which must return this promise without `await`. An error gets
 * the stack of the function's caller: for failures after an `await`, the runtimes have no frames, or
 * only the library's.
 *
 * It changes an error only once: one that passes through a callback of the caller keeps that stack.
 */
export async function atCaller<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw withoutFrames(error, atCaller);
  }
}

/**
 * The same for the synchronous function `call`, which must not call it in tail position: Bun drops
 * the frame of such a caller, and would find no `call` in the stack.
 */
export function atCallerSync<T>(call: unknown, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw withoutFrames(error, call);
  }
}

/** Removes the frames of `call`, and of what it called, from an error of the library. */
function withoutFrames(error: unknown, call: unknown): unknown {
  if (ownErrors.delete(Object(error))) captureStackTrace?.(error as object, call);
  return error;
}
