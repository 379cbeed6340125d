import { runtime } from "../../runtime/mod.ts";

/** The code of a failed system call, such as `"ENOENT"`, whatever realm its error is of. */
export function codeOf(error: unknown): string | undefined {
  return typeof error === "object" && error !== null ? runtime.codeOf(error) : undefined;
}

/** Whether a call failed with one of the codes. */
export function failedWith(error: unknown, codes: ReadonlySet<string>): boolean {
  return codes.has(codeOf(error) ?? "");
}

/**
 * Puts what failed before the message of a failed system call, and `facts` on
 * the error; its class and `code` stay. Any other error stays as it is: a denied
 * permission of Deno's, say, which has no `code`.
 */
export function withContext(error: unknown, what: string, facts: object = {}): unknown {
  const code = codeOf(error);
  if (code === undefined) return error;
  const told = error as Error;
  const { message, stack } = told;
  told.message = `${what}: ${message}`;
  // The stack was rendered with the message of before, and is what gets printed.
  if (stack !== undefined) told.stack = stack.replace(message, () => told.message);
  return Object.assign(told, { code, ...facts });
}
