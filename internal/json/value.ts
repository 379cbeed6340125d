import { own } from "../base/errors.ts";
import { type Check, kindOf } from "../base/options.ts";
import { ignoreFailure } from "../base/steps.ts";
import { JsonFileError } from "./error.ts";
import {
  DEFAULT_STYLE,
  type JsonStyle,
  parseJson,
  stringifyJson,
  stringifyRead,
  withStyle,
} from "./text.ts";

/** The checked value of a file with these bytes; undefined if there is no file. */
export function valueOf<T>(
  path: string,
  bytes: Uint8Array | null,
  check: ((value: unknown) => T) | undefined,
): T | undefined {
  return bytes === null ? undefined : checkedRead(path, parseJson(bytes, path).value, check);
}

/** How a value is checked and formatted, by the options. */
interface Format<T> {
  readonly check: ((value: unknown) => T) | undefined;
  readonly indent: number | string | undefined;
}

/** Checks for an indentation. */
export const isIndent: Check = (value, name) => {
  if (typeof value !== "number" && typeof value !== "string") {
    throw new TypeError(`'${name}' must be a number or a string: received ${kindOf(value)}`);
  }
  const isValid = typeof value === "string"
    ? /^[ \t]{0,10}$/.test(value)
    : Number.isInteger(value) && value >= 0 && value <= 10;
  if (!isValid) {
    throw new RangeError(
      `'${name}' must be an integer from 0 to 10, or at most 10 spaces and tabs: received ` +
        JSON.stringify(value),
    );
  }
};

/** The text of a value, which was checked as it will be read. */
export function textOf(path: string, value: unknown, format: Format<unknown>): string {
  const style = styleFor(format);
  const body = stringifyJson(value, style.indent, path);
  if (format.check !== undefined) checked(JSON.parse(body), format.check);
  return withStyle(body, style);
}

/** A change of a file: the current value, and what to write for the next one. */
interface JsonChange<T> {
  readonly value: T | undefined;
  /** The text to write, null if the value is the same, and the value that will be read. */
  to(next: unknown): { text: string | null; value: T };
}

/** Begins a change of a file with these bytes, null if there is none. */
export function changeOf<T>(
  path: string,
  bytes: Uint8Array | null,
  format: Format<T>,
): JsonChange<T> {
  const read = bytes === null ? undefined : parseJson(bytes, path);
  const style = styleFor(format, read?.style);
  // Now, since `check` and `fn` may modify the value.
  const before = read && stringifyRead(read.value, style.indent, path);
  return {
    value: read && checkedRead(path, read.value, format.check),
    to(next) {
      if (next === undefined) {
        throw own(
          new TypeError(
            "'fn' must return the new value: received undefined, perhaps because a 'return' is missing",
          ),
        );
      }
      const body = stringifyJson(next, style.indent, path);
      const value = checked(JSON.parse(body), format.check);
      return { text: body === before ? null : withStyle(body, style), value };
    },
  };
}

function styleFor({ indent }: Format<unknown>, style: JsonStyle = DEFAULT_STYLE): JsonStyle {
  if (indent === undefined) return style;
  return { ...style, indent: typeof indent === "number" ? " ".repeat(indent) : indent };
}

/** What `check` returns for a value that was read; what it throws is an error of the file. */
function checkedRead<T>(
  path: string,
  value: unknown,
  check: ((value: unknown) => T) | undefined,
): T {
  const asFileError = check && ((value: unknown) => {
    try {
      return check(value);
    } catch (cause) {
      throw new JsonFileError(path, String((cause as Error)?.message ?? cause), { cause });
    }
  });
  return checked(value, asFileError);
}

/** What `check` returns. A promise would settle too late, and its rejection would be unhandled. */
function checked<T>(value: unknown, check: ((value: unknown) => T) | undefined): T {
  if (check === undefined) return value as T;
  const result = check(value);
  if (typeof (Object(result) as { then?: unknown }).then === "function") {
    ignoreFailure(result);
    throw new TypeError("'check' must not return a promise");
  }
  return result;
}
