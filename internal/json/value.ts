import { own } from "../base/errors.ts";
import { type Check, kindOf } from "../base/options.ts";
import { ignoreFailure } from "../base/steps.ts";
import { JsonFileError } from "./error.ts";
import {
  DEFAULT_STYLE,
  isPlain,
  type JsonStyle,
  type JsonText,
  parseJson,
  stringifyJson,
  withStyle,
} from "./text.ts";

/** Parses and checks the value in a file's bytes; returns undefined if there is no file. */
export function valueOf<T>(
  path: string,
  bytes: Uint8Array | null,
  check: ((value: unknown) => T) | undefined,
): T | undefined {
  return bytes === null ? undefined : checked(parseJson(bytes, path).value, check, path);
}

/** The options for checking and formatting a value. */
interface Format<T> {
  readonly check: ((value: unknown) => T) | undefined;
  readonly indent: number | string | undefined;
}

/** Checks that a value is an indentation. */
export const isIndent: Check = (value, name) => {
  if (typeof value !== "number" && typeof value !== "string") {
    throw new TypeError(`'${name}' must be a number or a string: received ${kindOf(value)}`);
  }
  const isValid = typeof value === "string"
    ? /^[ \t]{0,10}$/.test(value)
    : Number.isInteger(value) && value >= 0 && value <= 10;
  if (!isValid) {
    throw new RangeError(
      `'${name}' must be an integer from 0 to 10, or a string of up to 10 spaces and tabs: received ` +
        JSON.stringify(value),
    );
  }
};

/** The JSON text of a value. `check` receives the value as it will be read back. */
export function textOf(path: string, value: unknown, format: Format<unknown>): string {
  const style = styleFor(format);
  const body = stringifyJson(value, style.indent, path);
  if (format.check !== undefined) checked(JSON.parse(body), format.check);
  return withStyle(body, style);
}

/** A change made to a JSON file by a function that may run more than once. */
export class JsonChange<T> {
  /** The new value, as it will be read back. */
  result!: T;
  #current: JsonText | undefined;
  /**
   * The text that would be written for the current value. Undefined if parsing that text would not
   * yield an equal value.
   */
  #formatted: string | undefined;
  /** The absolute path of the file. */
  readonly path: string;
  readonly #format: Format<T>;
  readonly #writesAlways: boolean;

  /**
   * @param writesAlways Whether to write even an unchanged value, because the file may not have the
   * requested mode or durability.
   */
  constructor(path: string, format: Format<T>, writesAlways: boolean) {
    this.path = path;
    this.#format = format;
    this.#writesAlways = writesAlways;
  }

  /**
   * Parses a file's bytes and returns the value to pass to the function; undefined if there is no
   * file.
   */
  read(bytes: Uint8Array | null): T | undefined {
    this.#current = this.#formatted = undefined;
    if (bytes === null) return undefined;
    this.#current = parseJson(bytes, this.path);
    const { value } = this.#current;
    const style = styleFor(this.#format, this.#current.style);
    // Do this before calling `check` and the function, since both may modify the value. A value
    // that JSON cannot represent exactly, such as 1e999 or -0, never counts as unchanged.
    if (!this.#writesAlways && isPlain(value)) {
      this.#formatted = withStyle(stringifyJson(value, style.indent, this.path), style);
    }
    return checked(value, this.#format.check, this.path);
  }

  /** Returns the text to write for the function's result, or null if the value is unchanged. */
  textFor(next: unknown): string | null {
    if (next === undefined) {
      throw own(
        new TypeError(
          "'fn' must return the new value: received undefined (missing 'return'?)",
        ),
      );
    }
    const { check } = this.#format;
    const style = styleFor(this.#format, this.#current?.style);
    const body = stringifyJson(next, style.indent, this.path);
    const text = withStyle(body, style);
    // Parse the text again, since the caller may later modify objects that the function put into
    // the value.
    this.result = checked(JSON.parse(body), check);
    if (this.#writesAlways) return text;
    // Compare with the file's text first: engines build the concatenated string `#formatted` only
    // when it is compared.
    return text === this.#current?.text || text === this.#formatted ? null : text;
  }
}

function styleFor({ indent }: Format<unknown>, style: JsonStyle = DEFAULT_STYLE): JsonStyle {
  if (indent === undefined) return style;
  return { ...style, indent: typeof indent === "number" ? " ".repeat(indent) : indent };
}

/**
 * Returns what `check` returns. Throws if that is a promise, which would settle only after the
 * value has been used.
 *
 * @param path The file that the value was read from, if any: an error from `check` then becomes a
 * JsonFileError.
 */
function checked<T>(
  value: unknown,
  check: ((value: unknown) => T) | undefined,
  path?: string,
): T {
  if (check === undefined) return value as T;
  let result: T;
  try {
    result = check(value);
  } catch (cause) {
    if (path === undefined) throw cause;
    throw new JsonFileError(path, String((cause as Error)?.message ?? cause), { cause });
  }
  if (typeof (Object(result) as { then?: unknown }).then === "function") {
    ignoreFailure(result);
    throw new TypeError("'check' must not return a promise");
  }
  return result;
}
