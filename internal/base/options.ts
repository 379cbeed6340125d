import { runtime } from "../../runtime/mod.ts";
import { faultOnWindows } from "./windows_names.ts";

/** Throws a TypeError or RangeError when `value` is not good for the option `name`. */
export type Check = (value: unknown, name: string) => void;

/** Not `Object.hasOwn`, for which dnt would put a polyfill into the package. */
const isOwn = Object.prototype.hasOwnProperty;

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
  const read: Partial<T> = {};
  if (options === undefined) return read as T;
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(`Options must be an object: received ${kindOf(options)}`);
  }
  for (const name of Object.keys(options)) {
    if (isOwn.call(checks, name)) continue;
    throw new TypeError(`Unknown option '${name}': there are ${Object.keys(checks).join(", ")}`);
  }
  // By their names: those count too that are inherited, not enumerable, or made up by a Proxy.
  for (const name in checks) {
    const value = options[name];
    if (value === undefined) continue;
    checks[name](value, name);
    read[name] = value;
  }
  return read as T;
}

/** Checks for a boolean. */
export const isBoolean: Check = (value, name) => {
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

/** Checks for an AbortSignal, of whatever realm. */
export const isSignal: Check = (value, name) => {
  const { aborted, addEventListener } = Object(value);
  if (typeof aborted !== "boolean" || typeof addEventListener !== "function") {
    throw new TypeError(`'${name}' must be an AbortSignal: received ${kindOf(value)}`);
  }
};

/** Checks for one of the strings `choices`. */
export function isOneOf(...choices: readonly string[]): Check {
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
export const isDuration: Check = (value, name) => {
  if (typeof value !== "number") {
    throw new TypeError(`'${name}' must be a number: received ${kindOf(value)}`);
  }
  if (!(value >= 0)) {
    throw new RangeError(`'${name}' must be 0 milliseconds or more: received ${value}`);
  }
};

/** Checks for permission bits. */
export const isMode: Check = (value, name) => {
  if (typeof value !== "number") {
    throw new TypeError(`'${name}' must be a number: received ${kindOf(value)}`);
  }
  if (!Number.isInteger(value) || value < 0 || value > 0o7777) {
    throw new RangeError(`'${name}' must be an integer from 0 to 0o7777: received ${value}`);
  }
};

/** Checks for the name of a file, one path component. */
export const isFileName: Check = (value, name) => {
  if (typeof value !== "string") {
    throw new TypeError(`'${name}' must be a string: received ${kindOf(value)}`);
  }
  if (value === "" || value === "." || value === ".." || /[/\\\0]/.test(value)) {
    throw new RangeError(`'${name}' must be one path component: received "${value}"`);
  }
  const fault = runtime.windows ? faultOnWindows(value) : undefined;
  if (fault !== undefined) throw new RangeError(`'${name}' ${fault}: received "${value}"`);
};

/** How to call the kind of a value in a message. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (typeof value !== "object") return typeof value;
  return String(value.constructor?.name ?? "object");
}
