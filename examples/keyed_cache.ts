/**
 * A cache on disk that computes each entry once, however many processes ask for it: entries are
 * read without a lock, and each missing one is computed under a lock of its own, so that others do
 * not wait for it.
 *
 * ```sh
 * deno run -A examples/keyed_cache.ts [DIR]
 * ```
 *
 * @module
 */
import { withDirLock } from "@aperture/atomic";
import { readJson, writeJson } from "@aperture/atomic/json";

/** The entry for `key`, computed if nobody has done so yet. */
export async function cached<T>(
  dir: string,
  key: string,
  compute: () => Promise<T>,
): Promise<T> {
  const name = await digest(key);
  const path = `${dir}/${name}.json`;
  const found = await readJson<{ value: T }>(path);
  if (found !== undefined) return found.value;
  return await withDirLock(dir, async () => {
    const found = await readJson<{ value: T }>(path); // Another may have been quicker.
    if (found !== undefined) return found.value;
    const value = await compute();
    await writeJson(path, { value }, { durability: "none" });
    return value;
  }, { lockFileName: `${name}.lock` });
}

async function digest(key: string): Promise<string> {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

if (import.meta.main) {
  const dir = Deno.args[0] ?? await Deno.makeTempDir();
  let computed = 0;
  const square = (n: number) =>
    cached(dir, `square of ${n}`, () => {
      computed++;
      return new Promise<number>((resolve) => setTimeout(() => resolve(n * n), 50));
    });
  const asked = Array.from({ length: 30 }, (_, i) => square(i % 3));
  console.log(`${(await Promise.all(asked)).length} answers, ${computed} computed`);
  if (Deno.args[0] === undefined) await Deno.remove(dir, { recursive: true });
}
