import { clock } from "../base/clock.ts";
import type { Opener } from "../base/opened.ts";
import {
  type Checks,
  isBoolean,
  isDuration,
  isFileName,
  isFunction,
  isSignal,
} from "../base/options.ts";
import { absolutePath, joinPath, type PathArgument } from "../base/paths.ts";

/** The default name of a directory's lock file. */
export const LOCK_FILE_NAME = ".aperture.lock";

/** Options for {@linkcode DirLock.tryAcquire} and {@linkcode DirLock.tryAcquireSync}. */
export interface TryAcquireOptions {
  /**
   * Whether to take a shared lock, as readers do. A lock can have any number of shared holders or a
   * single exclusive holder.
   *
   * @default {false}
   */
  shared?: boolean;
  /**
   * The name of the lock file: a single path component. Programs exclude each other only if they
   * use the same name.
   *
   * @default {".aperture.lock"}
   */
  lockFileName?: string;
}

/** Options for {@linkcode DirLock.acquireSync}. */
export interface AcquireSyncOptions extends TryAcquireOptions {
  /**
   * How long to wait for the lock, in milliseconds. With 0, the call tries once; with Infinity, it
   * never gives up.
   *
   * @default {Infinity}
   */
  timeout?: number;
  /**
   * Called once if the lock is not immediately available, for example to print that the program is
   * waiting.
   */
  onWait?: () => void;
}

/** Options for {@linkcode DirLock.acquire} and {@linkcode withDirLock}. */
export interface AcquireOptions extends AcquireSyncOptions {
  /** Cancels the wait when aborted. */
  signal?: AbortSignal;
}

/** Checks the options of a call that does not wait. */
export const TRY_OPTIONS: Checks<TryAcquireOptions> = {
  shared: isBoolean,
  lockFileName: isFileName,
};

/** Checks the options of a call that blocks the thread. */
export const ACQUIRE_SYNC_OPTIONS: Checks<AcquireSyncOptions> = {
  ...TRY_OPTIONS,
  timeout: isDuration,
  onWait: isFunction,
};

/** Checks the options of a call that waits. */
export const ACQUIRE_OPTIONS: Checks<AcquireOptions> = {
  ...ACQUIRE_SYNC_OPTIONS,
  signal: isSignal,
};

/** A validated request for a lock. */
export interface LockRequest extends Opener {
  readonly dir: string;
  readonly path: string;
  readonly shared: boolean;
  readonly timeout: number;
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  /**
   * Notifies the caller, at most once, that it has to wait. The callback may release or acquire
   * locks, or throw.
   */
  onWait(): void;
}

/** Creates a lock request from validated options. */
export function lockRequest(dir: PathArgument, options: AcquireOptions): LockRequest {
  const { shared = false, lockFileName = LOCK_FILE_NAME, timeout = Infinity, signal } = options;
  let { onWait } = options;
  const absolute = absolutePath(dir);
  return {
    dir: absolute,
    path: joinPath(absolute, lockFileName),
    shared,
    timeout,
    deadline: timeout === Infinity ? Infinity : clock.now() + timeout,
    signal,
    descriptors: { waitedMs: 0 },
    onWait() {
      const notify = onWait;
      onWait = undefined;
      notify?.();
    },
  };
}
