/**
 * An on-disk cache that computes each entry once, however many processes request it. Entries are
 * read without a lock. Each missing entry is computed under its own lock, so that requests for
 * other entries do not wait.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { withDirLock } from "@aperture/atomic";
import { readJson, writeJson } from "@aperture/atomic/json";

/** Returns the entry for `key`, computing it first if no process has done so yet. */
export async function cached<T>(
  dir: string,
  key: string,
  compute: () => Promise<T>,
): Promise<T> {
  const name = createHash("sha256").update(key).digest("hex");
  const path = `${dir}/${name}.json`;
  const found = await readJson<{ value: T }>(path);
  if (found !== undefined) return found.value;
  return await withDirLock(dir, async () => {
    const found = await readJson<{ value: T }>(path); // Another process may have been faster.
    if (found !== undefined) return found.value;
    const value = await compute();
    await writeJson(path, { value }, { durability: "none" });
    return value;
  }, { lockFileName: `${name}.lock` });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const dir = process.argv[2] ?? await mkdtemp(`${tmpdir()}/keyed-cache-`);
  let computed = 0;
  const square = (n: number) =>
    cached(dir, `square of ${n}`, () => {
      computed++;
      return new Promise<number>((resolve) => setTimeout(() => resolve(n * n), 50));
    });
  const requests = Array.from({ length: 30 }, (_, i) => square(i % 3));
  console.log(`${(await Promise.all(requests)).length} answers, ${computed} computed`);
  if (process.argv[2] === undefined) await rm(dir, { recursive: true });
}
