import type { AtomicWriteOptions, AtomicWriteSyncOptions, SweepOptions } from "./atomic.ts";
import type { AcquireOptions, AcquireSyncOptions, TryAcquireOptions } from "./lock.ts";

/** Throws a TypeError or RangeError when `value` is not good for the option `name`. */
export type Check = (value: unknown, name: string) => void;

/** A check for each option. */
export type Checks<T> = { readonly [K in keyof Required<T>]: Check };

/**
 * Reads each option once, checked; an option that is absent or undefined is
 * left out. One that is not in `checks` is a mistake that must not go unnoticed.
 */
export function readOptions<T extends object>(
  options: T | undefined,
  checks: Checks<T>,
): T {
  if (options === undefined) return {} as T;
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Options must be an object: received ${kindOf(options)}`);
  }
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(checks, name));
  if (unknown !== undefined) throw new TypeError(`Unknown option '${unknown}'`);
  const read: Partial<T> = {};
  for (const name of Object.keys(checks) as (keyof T & string)[]) {
    const value = options[name];
    if (value === undefined) continue;
    checks[name](value, name);
    read[name] = value;
  }
  return read as T;
}

/** Checks for a boolean. */
const isBoolean: Check = (value, name) => {
  if (typeof value !== "boolean") {
    throw new TypeError(`'${name}' must be a boolean: received ${kindOf(value)}`);
  }
};

/** Checks for a function. */
export const isFunction: Check = (value, name) => {
  if (typeof value !== "function") {
    throw new TypeError(`'${name}' must be a function: received ${kindOf(value)}`);
  }
};

/** Checks for an AbortSignal. */
const isSignal: Check = (value, name) => {
  if (!(value instanceof AbortSignal)) {
    throw new TypeError(`'${name}' must be an AbortSignal: received ${kindOf(value)}`);
  }
};

/** Checks for one of the strings `choices`. */
function isOneOf(choices: readonly string[]): Check {
  return (value, name) => {
    if (typeof value !== "string") {
      throw new TypeError(`'${name}' must be a string: received ${kindOf(value)}`);
    }
    if (!choices.includes(value)) {
      const all = choices.map((choice) => `"${choice}"`).join(", ");
      throw new RangeError(`'${name}' must be one of ${all}: received "${value}"`);
    }
  };
}

/** Checks for a number of milliseconds, which may be Infinity. */
const isDuration: Check = (value, name) => {
  if (typeof value !== "number") {
    throw new TypeError(`'${name}' must be a number: received ${kindOf(value)}`);
  }
  if (!(value >= 0)) {
    throw new RangeError(`'${name}' must be 0 milliseconds or more: received ${value}`);
  }
};

/** Checks for permission bits. */
const isMode: Check = (value, name) => {
  if (typeof value !== "number") {
    throw new TypeError(`'${name}' must be a number: received ${kindOf(value)}`);
  }
  if (!Number.isInteger(value) || value < 0 || value > 0o7777) {
    throw new RangeError(`'${name}' must be an integer from 0 to 0o7777: received ${value}`);
  }
};

/** Checks for the name of a file, one path component. */
const isFileName: Check = (value, name) => {
  if (typeof value !== "string") {
    throw new TypeError(`'${name}' must be a string: received ${kindOf(value)}`);
  }
  if (value === "" || value === "." || value === ".." || /[/\\\0]/.test(value)) {
    throw new RangeError(`'${name}' must be one path component: received "${value}"`);
  }
};

/** How to call the kind of a value in a message. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (typeof value !== "object") return typeof value;
  return String(value.constructor?.name ?? "object");
}

/** The options of atomicWriteSync(). */
export const WRITE_SYNC_CHECKS: Checks<AtomicWriteSyncOptions> = {
  durability: isOneOf(["none", "consistent", "durable"]),
  mode: isMode,
  createNew: isBoolean,
  symlinks: isOneOf(["follow", "replace"]),
};

/** The options of atomicWrite(). */
export const WRITE_CHECKS: Checks<AtomicWriteOptions> = { ...WRITE_SYNC_CHECKS, signal: isSignal };

/** The options of sweepTempFiles(). */
export const SWEEP_CHECKS: Checks<SweepOptions> = { olderThan: isDuration };

/** The options of DirLock.tryAcquire() and tryAcquireSync(). */
export const TRY_ACQUIRE_CHECKS: Checks<TryAcquireOptions> = {
  shared: isBoolean,
  lockFileName: isFileName,
};

/** The options of DirLock.acquireSync(). */
export const ACQUIRE_SYNC_CHECKS: Checks<AcquireSyncOptions> = {
  ...TRY_ACQUIRE_CHECKS,
  timeout: isDuration,
  onWait: isFunction,
};

/** The options of DirLock.acquire(). */
export const ACQUIRE_CHECKS: Checks<AcquireOptions> = { ...ACQUIRE_SYNC_CHECKS, signal: isSignal };
