/**
 * A substitute for `ensureDir` from `@std/fs`, for the npm package and for builds without access to
 * JSR.
 */
export async function ensureDir(dir: string): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
}

/** A substitute for `ensureDirSync` from `@std/fs`. */
export function ensureDirSync(dir: string): void {
  Deno.mkdirSync(dir, { recursive: true });
}
