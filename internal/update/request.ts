import { type Check, type Checks, isSignal, readOptions } from "../base/options.ts";
import { holdOf } from "../lock/queue.ts";
import { ACQUIRE_SYNC_OPTIONS } from "../lock/request.ts";
import { type AtomicWriteOptions, WRITE_SYNC_OPTIONS } from "../write/request.ts";

/**
 * The options of an update, as passed by the caller. `lock` is a held lock, or options for
 * acquiring one.
 */
export interface UpdateOptions extends AtomicWriteOptions {
  lock?: object;
}

/** Checks that a value is a held exclusive lock, or options for acquiring one. */
const isLock: Check = (value, name) => {
  const hold = holdOf(value);
  if (hold?.released) {
    throw new RangeError(`'${name}' has already been released: pass a lock that is held`);
  }
  if (hold === undefined) readOptions(value as object, ACQUIRE_SYNC_OPTIONS, `'${name}'`);
  if ((value as { shared?: boolean }).shared) {
    throw new RangeError(
      `'${name}' must be exclusive: received a shared lock, which others can hold too`,
    );
  }
};

/** Checks the options of a synchronous update. */
export const UPDATE_SYNC_OPTIONS: Checks<Omit<UpdateOptions, "signal">> = {
  ...WRITE_SYNC_OPTIONS,
  lock: isLock,
};

/** Checks the options of an update. */
export const UPDATE_OPTIONS: Checks<UpdateOptions> = { ...UPDATE_SYNC_OPTIONS, signal: isSignal };
