/**
 * Atomic file writes and crash-safe directory locks for Deno, Node.js and Bun.
 *
 * - {@linkcode atomicWrite} and {@linkcode atomicWriteSync} replace a file's entire content;
 *   {@linkcode AtomicFile} lets you write it piece by piece.
 * - {@linkcode DirLock} and {@linkcode withDirLock} lock a directory against other processes. The
 *   kernel releases the lock when its holder dies.
 * - {@linkcode atomicUpdate} changes a file while holding the lock, so no update is lost.
 * - {@linkcode sweepTempFiles} removes the temporary files that killed processes did not clean up.
 *
 * Readers need neither a lock nor this library: they open the file and get either the old content
 * or the new, never a partial file.
 *
 * ```ts
 * import { atomicUpdate, atomicWrite, withDirLock } from "@aperture/atomic";
 * import assert from "node:assert/strict";
 * import { mkdtemp, readFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const dir = await mkdtemp(`${tmpdir()}/example-`);
 *
 * await atomicWrite(`${dir}/settings.json`, '{"theme":"dark"}');
 *
 * await atomicUpdate(`${dir}/visits`, (bytes) => {
 *   const visits = bytes === null ? 0 : Number(new TextDecoder().decode(bytes));
 *   return String(visits + 1);
 * });
 * assert.equal(await readFile(`${dir}/visits`, "utf8"), "1");
 *
 * await withDirLock(dir, async () => {
 *   // No other program holds the lock now.
 *   await atomicWrite(`${dir}/index`, "settings.json\nvisits\n");
 * });
 * ```
 *
 * The lock is advisory: it excludes other programs that take it, but not programs that write
 * without it.
 *
 * @module
 */

export * from "./atomic.ts";
export * from "./lock.ts";
export * from "./update.ts";
