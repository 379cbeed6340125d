/**
 * Concurrency-safe files for programs that share a directory: replace a file so that no
 * reader ever sees half of it, and lock a directory with a lock that the kernel frees
 * when its holder dies.
 *
 * - {@linkcode atomicWrite} and {@linkcode atomicWriteSync} replace a file,
 *   {@linkcode AtomicFile} does it piece by piece.
 * - {@linkcode DirLock} and {@linkcode withDirLock} keep other processes out of a directory.
 * - {@linkcode atomicUpdate} changes a file under the lock, so that no change is lost.
 * - {@linkcode sweepTempFiles} removes what killed processes left behind.
 *
 * Readers need nothing of this: they open the file and have the old content or the
 * new, whole.
 *
 * ```ts
 * import { atomicUpdate, atomicWrite, withDirLock } from "@aperture/atomic";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 *
 * await atomicWrite(`${dir}/settings.json`, '{"theme":"dark"}');
 *
 * await atomicUpdate(`${dir}/visits`, (bytes) => {
 *   const visits = bytes === null ? 0 : Number(new TextDecoder().decode(bytes));
 *   return String(visits + 1);
 * });
 * assertEquals(await Deno.readTextFile(`${dir}/visits`), "1");
 *
 * await withDirLock(dir, async () => {
 *   // Nobody else who takes the lock is in the directory now.
 *   await atomicWrite(`${dir}/index`, "settings.json\nvisits\n");
 * });
 * ```
 *
 * The lock is advisory: it keeps out those who take it, not those who do not ask.
 *
 * @module
 */

export {
  type AtomicChunk,
  type AtomicData,
  type AtomicDataSync,
  AtomicFile,
  atomicWrite,
  type AtomicWriteError,
  type AtomicWriteOptions,
  atomicWriteSync,
  type AtomicWriteSyncOptions,
  type Durability,
  isAtomicWriteError,
  isTempName,
  type SweepOptions,
  sweepTempFiles,
  sweepTempFilesSync,
} from "./atomic.ts";
export {
  type AcquireOptions,
  type AcquireSyncOptions,
  DeadlockError,
  DirLock,
  LOCK_FILE_NAME,
  lockHolders,
  type LockHoldersOptions,
  LockLostError,
  LockTimeoutError,
  type TryAcquireOptions,
  withDirLock,
} from "./lock.ts";
export {
  atomicUpdate,
  type AtomicUpdateOptions,
  atomicUpdateSync,
  type AtomicUpdateSyncOptions,
} from "./update.ts";
