import { runtime } from "./runtime/mod.ts";

/** The code of a failed system call, such as `"ENOENT"`. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? runtime.codeOf(error) : undefined;
}

/**
 * Puts what failed before the message of a failed system call, and `facts` on
 * the error; its class and `code` stay. Any other error stays as it is: a denied
 * permission of Deno's, say, which has no `code`.
 */
export function explain(error: unknown, what: string, facts: object): unknown {
  const code = codeOf(error);
  if (!(error instanceof Error) || code === undefined) return error;
  const { message, stack } = error;
  error.message = `${what}: ${message}`;
  // The stack was rendered with the message of before, and is what gets printed.
  if (stack !== undefined) error.stack = stack.replace(message, () => error.message);
  return Object.assign(error, { code, ...facts });
}
