import { JsonFileError } from "./error.ts";
import {
  DEFAULT_STYLE,
  isValueOf,
  type JsonStyle,
  parseJson,
  parseText,
  stringifyJson,
} from "./text.ts";
import { type Check, kindOf } from "../base/options.ts";
import { ignoreFailure } from "../base/steps.ts";

/** The value of a file with these bytes, checked; undefined if there is no file. */
export function valueOf<T>(
  path: string,
  bytes: Uint8Array | null,
  check: ((value: unknown) => T) | undefined,
): T | undefined {
  return bytes === null ? undefined : checked(path, parseJson(bytes, path).value, check);
}

/** What a check makes of a value that was read. */
function checked<T>(
  path: string,
  value: unknown,
  check: ((value: unknown) => T) | undefined,
): T {
  if (check === undefined) return value as T;
  let result: T;
  try {
    result = check(value);
  } catch (cause) {
    throw new JsonFileError(path, String((cause as Error)?.message ?? cause), { cause });
  }
  refusePromise(result);
  return result;
}

/** How a value is checked and written, as the options say. */
interface Format {
  readonly check: ((value: unknown) => unknown) | undefined;
  readonly indent: number | string | undefined;
}

/** Checks for what JSON is indented by. */
export const isIndent: Check = (value, name) => {
  if (typeof value !== "number" && typeof value !== "string") {
    throw new TypeError(`'${name}' must be a number or a string: received ${kindOf(value)}`);
  }
  const good = typeof value === "string"
    ? /^[ \t]{0,10}$/.test(value)
    : Number.isInteger(value) && value >= 0 && value <= 10;
  if (!good) {
    throw new RangeError(
      `'${name}' must be an integer from 0 to 10, or at most 10 spaces and tabs: received ` +
        JSON.stringify(value),
    );
  }
};

/** The text of a value in a style, after it was checked as it will be read. */
export function textOf(
  value: unknown,
  { check, indent }: Format,
  style: JsonStyle = DEFAULT_STYLE,
): string {
  const text = stringifyJson(value, {
    ...style,
    ...indent !== undefined && { indent: typeof indent === "number" ? " ".repeat(indent) : indent },
  });
  if (check !== undefined) refusePromise(check(parseText(text)));
  return text;
}

/** The value of a file that is to be changed, and what to write for the next: null for nothing. */
export function changeOf<T>(
  path: string,
  bytes: Uint8Array | null,
  format: Format,
): { value: T | undefined; write(next: unknown): string | null } {
  if (bytes === null) {
    return { value: undefined, write: (next) => textOf(next, format) };
  }
  const { value, text, style } = parseJson(bytes, path);
  return {
    value: checked(path, value, format.check) as T,
    write(next) {
      // First: it may hold an Infinity that was read, and that cannot be written.
      return isValueOf(text, next) ? null : textOf(next, format, style);
    },
  };
}

/** A check that works later has not checked anything yet, and its failure would go unseen. */
function refusePromise(result: unknown): void {
  const { then } = Object(result) as { then?: unknown };
  if (typeof then !== "function") return;
  ignoreFailure(result);
  throw new TypeError("'check' must not return a promise");
}
