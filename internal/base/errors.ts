import { runtime } from "../../runtime/mod.ts";

/** The code of a failed system call, such as `"ENOENT"`, whatever realm its error is of. */
export function codeOf(error: unknown): string | undefined {
  return typeof error === "object" && error !== null ? runtime.codeOf(error) : undefined;
}

/** Whether a call failed with one of the codes. */
export function failedWith(error: unknown, codes: ReadonlySet<string>): boolean {
  return codes.has(codeOf(error) ?? "");
}

/** V8 and JavaScriptCore have it, but not all versions of the types declare it. */
const { captureStackTrace } = Error as {
  captureStackTrace?: (error: object, above?: unknown) => void;
};

/** Errors that the library made or gave context to, and whose stack it may replace. */
const ownErrors = new WeakSet<object>();

/** Marks an error as the library's own, for {@linkcode atCaller}. */
export function own<T extends Error>(error: T): T {
  ownErrors.add(error);
  return error;
}

/**
 * Puts what failed before the message of a failed system call, what to do about it after the
 * message, and `facts` on the error. Its class and `code` stay. Other errors stay as they are: those
 * that have context already, and a permission that Deno denied, which has no `code`.
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
  // The stack begins with the message, and was rendered before this one.
  captureStackTrace?.(failed);
  return Object.assign(failed, { code, ...facts });
}

/**
 * Does the work of a public function, which must return the promise without `await`. An error gets
 * the stack of the function's caller: the runtimes have no frame, or only ours, for what fails after
 * an `await`.
 *
 * Once only: an error that passes through a function of the caller keeps the stack it has there.
 */
export async function atCaller<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw withoutFrames(error, atCaller);
  }
}

/**
 * The same for the synchronous function `call`, which must not end with it: Bun drops the frame of a
 * call in tail position, and would find no `call` in the stack.
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
