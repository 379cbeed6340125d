import { assertEquals } from "@std/assert/equals";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import process from "node:process";

/** Creates a directory in `parent`, calls `fn` with it, and removes it. */
export async function inTempDir<T>(
  fn: (dir: string) => T | Promise<T>,
  parent: string = tmpdir(),
): Promise<T> {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(parent, "aperture-")));
  try {
    return await fn(dir);
  } finally {
    await removeDir(dir);
  }
}

/** Removes a directory; retries on Windows, since Deno and Bun ignore `maxRetries`. */
async function removeDir(dir: string): Promise<void> {
  for (let tries = 1;; tries++) {
    try {
      return fs.rmSync(dir, { recursive: true, force: true });
    } catch (error) {
      if (process.platform !== "win32" || tries === 6) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Returns a directory's entries, sorted and without lock files. */
export function list(dir: string): string[] {
  return fs.readdirSync(dir).filter((name) => name !== ".aperture.lock").sort();
}

/** Returns a file's content as text. */
export function text(file: string): string {
  return fs.readFileSync(file, "utf8");
}

/**
 * Returns how many descriptors this process has open inside `dir`, which defaults to the system's
 * temporary directory. The runtime may open other descriptors at any time, so they are not counted.
 * Outside Linux, the result is always 0.
 */
export function openDescriptors(dir: string = fs.realpathSync(tmpdir())): number {
  if (process.platform !== "linux") return 0;
  return fs.readdirSync("/proc/self/fd").filter((descriptor) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${descriptor}`).startsWith(dir);
    } catch {
      return false; // readdirSync()'s own descriptor.
    }
  }).length;
}

/** Calls `fn` with a file, then checks that the file and its directory are unchanged. */
export function unchanged(fn: (file: string) => Promise<unknown>): Promise<void> {
  return inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    const descriptors = openDescriptors();
    await fn(file);
    assertEquals([list(dir), text(file)], [["file"], "old"]);
    assertEquals(openDescriptors(), descriptors);
  });
}
