/** What is used of `@std/fs/ensure-dir`, for where JSR cannot be reached. */
export async function ensureDir(dir: string): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
}

/** The synchronous form of {@linkcode ensureDir}. */
export function ensureDirSync(dir: string): void {
  Deno.mkdirSync(dir, { recursive: true });
}
