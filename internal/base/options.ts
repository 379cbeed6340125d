import { runtime } from "../../runtime/mod.ts";
import { faultOnWindows } from "./windows_names.ts";

/** Throws a TypeError or RangeError if `value` is not valid for the option `name`. */
export type Check = (value: unknown, name: string) => void;

/** `Object.hasOwn` is not used, because dnt would add a polyfill for it to the package. */
const isOwn = Object.prototype.hasOwnProperty;

/** A lone surrogate. A file system may replace it when storing a name, or reject the name. */
export const LONE_SURROGATE: RegExp = /\p{Surrogate}/u;

/** A check for each option. */
export type Checks<T> = { readonly [K in keyof Required<T>]: Check };

/**
 * Reads and checks each option once, omitting those that are absent or undefined. Throws if an
 * option is not in `checks`.
 */
export function readOptions<T extends object>(
  options: T | undefined,
  checks: Checks<T>,
  what = "Options",
): T {
  const read: Partial<T> = {};
  if (options === undefined) return read as T;
  const names = Object.keys(checks) as (keyof T & string)[];
  // Check the tag: the loop below would accept a Map or an AbortSignal, because neither has own
  // properties.
  if (Object.prototype.toString.call(options) !== "[object Object]") {
    throw new TypeError(
      `${what} must be an object such as { ${names[0]}: … }: received ${kindOf(options)}`,
    );
  }
  for (const name of Object.keys(options)) {
    if (isOwn.call(checks, name)) continue;
    throw new TypeError(`Unknown option '${name}': valid options: ${names.join(", ")}`);
  }
  // Look up each name, so that inherited, non-enumerable and Proxy-generated options are found.
  for (const name of names) {
    const value = options[name];
    if (value === undefined) continue;
    checks[name](value, name);
    read[name] = value;
  }
  return read as T;
}

/** Checks that a value is a boolean. */
export const isBoolean: Check = (value, name) => void typed("boolean", "a boolean", value, name);

/** Checks that a value is a function. */
export const isFunction: Check = (value, name) => void typed("function", "a function", value, name);

/** Returns the value if it has the given type; otherwise throws a TypeError. */
function typed<T>(type: string, what: string, value: unknown, name: string): T {
  const given: string = typeof value;
  if (given === type) return value as T;
  throw new TypeError(`'${name}' must be ${what}: received ${kindOf(value)}`);
}

/** Checks that a value is an AbortSignal, from any realm. */
export const isSignal: Check = (value, name) => {
  const { aborted, addEventListener } = Object(value);
  if (typeof aborted !== "boolean" || typeof addEventListener !== "function") {
    throw new TypeError(`'${name}' must be an AbortSignal: received ${kindOf(value)}`);
  }
};

/** Checks that a value is one of the strings `choices`. */
export function isOneOf(...choices: readonly string[]): Check {
  return (value, name) => {
    const isText = typeof value === "string";
    if (isText && choices.includes(value)) return;
    const all = choices.map((choice) => `"${choice}"`).join(" or ");
    const message = `'${name}' must be ${all}: received ${isText ? `"${value}"` : kindOf(value)}`;
    throw isText ? new RangeError(message) : new TypeError(message);
  };
}

/** Checks that a value is a number of milliseconds, possibly Infinity. */
export const isDuration: Check = (value, name) => {
  const duration = typed<number>("number", "a number of milliseconds", value, name);
  if (!(duration >= 0)) {
    throw new RangeError(`'${name}' must be 0 milliseconds or more: received ${duration}`);
  }
};

/** Checks that a value is a set of permission bits. */
export const isMode: Check = (value, name) => {
  const mode = typed<number>("number", "a number such as 0o644", value, name);
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
    const hint = mode > 0o7777 ? ". Pass only the permission bits: mode & 0o7777" : "";
    throw new RangeError(`'${name}' must be an integer from 0 to 0o7777: received ${value}${hint}`);
  }
  // Decimal 644 is 0o1204, which is never intended: the sticky bit has no effect on files.
  if (/^[67][0-7]{2}$/.test(String(value))) {
    throw new RangeError(`'${name}' must be octal: received ${value} (did you mean 0o${value}?)`);
  }
};

/** Checks that a value is a file name: one path component. */
export const isFileName: Check = (value, name) => {
  const text = typed<string>("string", "a string", value, name);
  if (/^\.{0,2}$|[/\\\0]/.test(text)) {
    throw new RangeError(`'${name}' must be a file name without a directory: received "${text}"`);
  }
  if (LONE_SURROGATE.test(text)) {
    throw new TypeError(`'${name}' must be well-formed Unicode: received ${JSON.stringify(text)}`);
  }
  const fault = runtime.windows ? faultOnWindows(text) : undefined;
  if (fault !== undefined) throw new RangeError(`'${name}' ${fault}: received "${value}"`);
};

/** Describes a value for a message, with an article: "a string", "an array", "a Map". */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  const name = typeof value === "object" ? nameOf(value) : typeof value;
  const kind = `${/^[aeio]/i.test(name) ? "an" : "a"} ${name}`;
  return name === "Promise" ? `${kind} (missing \`await\`?)` : kind;
}

function nameOf(value: object): string {
  const name: unknown = value.constructor?.name;
  // The constructor of a generator has no name.
  const kind = typeof name === "string" && name !== ""
    ? name
    : Object.prototype.toString.call(value).slice(8, -1);
  return ["Array", "Generator", "Object"].includes(kind) ? kind.toLowerCase() : kind;
}
