import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

/** The part of https://github.com/npm/write-file-atomic that is used here. */
export interface WriteFileAtomic {
  (file: string, data: Uint8Array, options: { fsync: boolean }): Promise<void>;
  sync(file: string, data: Uint8Array, options: { fsync: boolean }): void;
}

/** The part of https://github.com/fabiospampinato/atomically that is used here. */
export interface Atomically {
  writeFile(
    file: string,
    data: Uint8Array,
    options: { fsync: boolean },
  ): Promise<void>;
  writeFileSync(
    file: string,
    data: Uint8Array,
    options: { fsync: boolean },
  ): void;
}

/**
 * The part of https://github.com/mcollina/fast-write-atomic that is used here. That package always
 * syncs and never preserves a file's mode.
 */
export interface FastWriteAtomic {
  promise(file: string, data: Uint8Array): Promise<void>;
}

/**
 * The part of https://github.com/typicode/steno that is used here. That package never syncs and
 * never preserves a file's mode.
 */
export interface Steno {
  Writer: new (
    file: string,
  ) => { write(data: string | Uint8Array): Promise<void> };
}

/** The part of https://github.com/moxystudio/node-proper-lockfile that is used here. */
export interface ProperLockfile {
  lock(
    file: string,
    options?: { retries?: unknown; realpath?: boolean; stale?: number },
  ): Promise<() => Promise<void>>;
  lockSync(file: string): () => void;
}

/** The part of https://github.com/npm/lockfile that is used here. */
export interface Lockfile {
  lockSync(file: string): void;
  unlockSync(file: string): void;
  lock(
    file: string,
    options: { wait: number; pollPeriod: number },
    done: (error: Error | null) => void,
  ): void;
  unlock(file: string, done: (error: Error | null) => void): void;
}

/** The peers listed in bench/tools/package.json. */
export interface Peers {
  "write-file-atomic": WriteFileAtomic;
  "atomically": Atomically;
  "fast-write-atomic": FastWriteAtomic;
  "steno": Steno;
  "proper-lockfile": ProperLockfile;
  "lockfile": Lockfile;
}

/**
 * Resolves modules from the directory of the peers' package.json. The peers need not be installed.
 */
const require = createRequire(new URL("tools/package.json", import.meta.url));

/** The URL of a peer. */
export function urlOf(name: string): string {
  return pathToFileURL(require.resolve(name)).href;
}

/** Loads a peer; returns undefined if this runtime cannot load it. */
export function peer<N extends keyof Peers>(name: N): Peers[N] | undefined {
  try {
    return require(name);
  } catch {
    return undefined;
  }
}
