/**
 * A replacement for `ensureDir` from `@std/fs`, used in the npm package and in builds without
 * access to JSR.
 */
export async function ensureDir(dir: string): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
}

/** A replacement for `ensureDirSync` from `@std/fs`. */
export function ensureDirSync(dir: string): void {
  Deno.mkdirSync(dir, { recursive: true });
}
