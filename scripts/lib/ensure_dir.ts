/** `ensureDir` of `@std/fs`, for where JSR cannot be reached and for the npm package. */
export async function ensureDir(dir: string): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
}

/** `ensureDirSync` of `@std/fs`. */
export function ensureDirSync(dir: string): void {
  Deno.mkdirSync(dir, { recursive: true });
}
