/** `ensureDirSync` of `@std/fs`, for where JSR cannot be reached. */
export function ensureDirSync(dir: string): void {
  Deno.mkdirSync(dir, { recursive: true });
}
