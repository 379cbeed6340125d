import type { NewLockPath } from "./file.ts";
import {
  type Checks,
  isBoolean,
  isDuration,
  isFileName,
  isFunction,
  isSignal,
} from "../base/options.ts";
import { absolutePath, joinPath } from "../base/paths.ts";

/** The name of the file that holds a directory's lock. */
export const LOCK_FILE_NAME = ".aperture.lock";

/** The options of a call that does not wait, as callers give them. */
interface TryOptions {
  shared?: boolean;
  lockFileName?: string;
}

interface AcquireSyncOptions extends TryOptions {
  timeout?: number;
  onWait?: () => void;
}

interface AcquireOptions extends AcquireSyncOptions {
  signal?: AbortSignal;
}

/** The options of a call that does not wait. */
export const TRY_OPTIONS: Checks<TryOptions> = { shared: isBoolean, lockFileName: isFileName };

/** The options of a call that waits by blocking the thread. */
export const ACQUIRE_SYNC_OPTIONS: Checks<AcquireSyncOptions> = {
  ...TRY_OPTIONS,
  timeout: isDuration,
  onWait: isFunction,
};

/** The options of a call that waits. */
export const ACQUIRE_OPTIONS: Checks<AcquireOptions> = {
  ...ACQUIRE_SYNC_OPTIONS,
  signal: isSignal,
};

/** A call to acquire, checked. */
export interface LockRequest extends NewLockPath {
  readonly shared: boolean;
  readonly timeout: number;
  /** When the timeout is over, by performance.now(). */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  /** Tells the caller of a wait, once. What is called there may release, acquire and throw. */
  onWait(): void;
}

/** What a call asks for, from options that were read. */
export function lockRequest(dir: string | URL, options: AcquireOptions): LockRequest {
  const { shared = false, lockFileName = LOCK_FILE_NAME, timeout = Infinity, signal, onWait } =
    options;
  const absolute = absolutePath(dir);
  let told = false;
  return {
    dir: absolute,
    path: joinPath(absolute, lockFileName),
    createdDirs: [],
    shared,
    timeout,
    deadline: timeout === Infinity ? Infinity : performance.now() + timeout,
    signal,
    onWait() {
      if (told) return;
      told = true;
      onWait?.();
    },
  };
}
