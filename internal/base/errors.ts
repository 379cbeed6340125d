import { runtime } from "../../runtime/mod.ts";

/**
 * The code of a failed system call, such as `"ENOENT"`, even if the error is from another realm.
 */
export function codeOf(error: unknown): string | undefined {
  return typeof error === "object" && error !== null ? runtime.codeOf(error) : undefined;
}

/** Whether an error has one of the codes. */
export function failedWith(error: unknown, codes: ReadonlySet<string>): boolean {
  return codes.has(codeOf(error) ?? "");
}

/** Calls a function and ignores its errors. Callers must not depend on whether it succeeds. */
export function bestEffort(work: () => void): void {
  try {
    work();
  } catch {
    // See above.
  }
}

/** V8 and JavaScriptCore have this method, but some versions of the type declarations lack it. */
const { captureStackTrace } = Error as {
  captureStackTrace?: (error: object, above?: unknown) => void;
};

/** Errors that the library created or added context to, so it can replace their stacks. */
const ownErrors = new WeakSet<object>();

/** The reasons of aborted signals. They belong to the caller and must not be changed. */
const abortReasons = new WeakSet<object>();

/** Marks the reason of an aborted signal, so that it reaches the caller unchanged. */
export function abortReason(reason: unknown): unknown {
  if (Object(reason) === reason) abortReasons.add(reason as object);
  return reason;
}

/** Marks an error as the library's own, for {@linkcode atCaller}. */
export function own<T extends Error>(error: T): T {
  ownErrors.add(error);
  return error;
}

/**
 * Adds context to the error of a failed system call: `what` (what failed) is prepended to the
 * message, `hint` is appended to it, and `facts` become properties. The class and `code` stay the
 * same. Errors that already have context are left unchanged, as are the reasons of aborted signals
 * and Deno's permission errors, which have no `code`.
 */
export function withContext(
  error: unknown,
  what: string,
  facts: object = {},
  hint: string = "",
): unknown {
  const code = codeOf(error);
  if (code === undefined || ownErrors.has(error as object) || abortReasons.has(error as object)) {
    return error;
  }
  const failed = own(error as Error);
  failed.message = `${what}: ${failed.message}${hint}`;
  // The stack still contains the old message.
  captureStackTrace?.(failed);
  return Object.assign(failed, { code, ...facts });
}

/**
 * Runs the body of a public function, which must return the resulting promise without awaiting it.
 * Errors get the stack of the function's caller, because stacks captured after an `await` are empty
 * or contain only the library's frames.
 *
 * An error's stack is replaced only once, so an error that passes through a caller's callback keeps
 * its first stack.
 */
export async function atCaller<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw withoutFrames(error, atCaller);
  }
}

/**
 * Like {@linkcode atCaller}, but for the synchronous function `call`. `call` must not return this
 * function's result directly or through a constant, which Bun's transpiler inlines: Bun would then
 * drop the frame of `call` and fail to find it in the stack.
 */
export function atCallerSync<T>(call: unknown, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw withoutFrames(error, call);
  }
}

/** Removes the frames of `call`, and of everything it called, from the stack of a library error. */
function withoutFrames(error: unknown, call: unknown): unknown {
  // The error may be frozen: callers can freeze and rethrow an error.
  if (ownErrors.delete(Object(error)) && Object.isExtensible(error)) {
    captureStackTrace?.(error as object, call);
  }
  return error;
}
