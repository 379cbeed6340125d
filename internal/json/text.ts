import { isUtf8 } from "node:buffer";
import { types } from "node:util";
import { own } from "../base/errors.ts";
import { kindOf } from "../base/options.ts";
import { ignoreFailure } from "../base/steps.ts";
import { JsonFileError } from "./error.ts";
import { findError } from "./syntax.ts";

/** The value in a JSON file, and how the file is formatted. */
export interface JsonText {
  readonly text: string;
  readonly value: unknown;
  readonly style: JsonStyle;
}

/** How JSON is formatted. */
export interface JsonStyle {
  /** A byte order mark, or an empty string. */
  readonly mark: string;
  /** The indentation of each level; empty to put everything on one line. */
  readonly indent: string;
  readonly lineBreak: "\n" | "\r\n";
  /** The line break at the end, or an empty string. */
  readonly end: string;
}

/** The style of a new file. */
export const DEFAULT_STYLE: JsonStyle = { mark: "", indent: "  ", lineBreak: "\n", end: "\n" };

const MARK = "\ufeff";

/** JSON.stringify() truncates longer indents. */
const MAX_INDENT_CHARS = 10;

/** Deeper than most data, but not nearly deep enough to overflow the stack. */
const MAX_PLAIN_DEPTH = 500;

/** Parses the bytes of the file at `path` as JSON. */
export function parseJson(bytes: Uint8Array, path: string): JsonText {
  const text = decode(bytes, path);
  const mark = text.startsWith(MARK) ? MARK : "";
  const json = text.slice(mark.length);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    const error = cause instanceof SyntaxError ? findError(json) : undefined;
    // If no error is found, the text is valid JSON but too deeply nested or too large for the
    // engine.
    throw error === undefined
      ? new JsonFileError(path, (cause as Error).message, { cause })
      : new JsonFileError(path, error.reason, { cause, ...lineOf(json, error.offset) });
  }
  return { text, value, style: styleOf(json, mark) };
}

/**
 * Serializes a value as indented JSON. {@linkcode withStyle} applies the rest of the style. `path`
 * is the file named in errors.
 *
 * @throws {TypeError} If JSON cannot represent the value.
 * @throws {RangeError} If the value is too deeply nested or too large for the engine.
 */
export function stringifyJson(value: unknown, indent: string, path: string): string {
  try {
    if (!isPlain(value)) checkValue(value, path);
    const body: string | undefined = JSON.stringify(value, undefined, indent);
    if (body !== undefined) return body;
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw own(new RangeError(`Cannot write '${path}' as JSON: ${cause.message}`, { cause }));
  }
  // JSON.stringify() returns undefined for undefined and for an object whose toJSON() returns
  // undefined.
  throw refusal(path, "the value is undefined; use null for an empty value");
}

/** Applies the rest of a style to JSON that is already indented. */
export function withStyle(body: string, { mark, lineBreak, end }: JsonStyle): string {
  // JSON strings cannot contain literal line breaks.
  return mark + (lineBreak === "\n" ? body : body.replaceAll("\n", lineBreak)) + end;
}

/**
 * Whether a value consists only of literals, arrays and plain objects, so that JSON.parse() would
 * return an equal value for its JSON. -0 does not qualify, because its JSON is 0. {@linkcode
 * checkValue} also accepts all such values, but is several times slower.
 */
export function isPlain(value: unknown, depth = 0): boolean {
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  if (typeof value !== "object") return typeof value === "string" || typeof value === "boolean";
  if (value === null) return true;
  // The depth limit also stops the recursion if an object contains itself.
  if (depth === MAX_PLAIN_DEPTH || hasToJson(value)) return false;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isPlain(value[i], depth + 1)) return false;
    return true;
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  const keys = Object.keys(value);
  for (let i = 0; i < keys.length; i++) {
    if (!isPlain((value as Record<string, unknown>)[keys[i]!], depth + 1)) return false;
  }
  return true;
}

/** Throws if JSON.stringify() would silently write a different value. */
function checkValue(whole: unknown, path: string): void {
  /** The objects that enclose the current value, outermost first, and the key of each. */
  const around: unknown[] = [];
  const keys: Key[] = [];

  const refused = (key: Key, what: string, instead: string) => {
    const where = placeOf([...keys, key]);
    return refusal(path, `${what}${where && ` at '${where}'`} ${instead}`);
  };
  const visit = (given: unknown, key: Key): void => {
    const value = hasToJson(given) ? given.toJSON(String(key)) : given;
    const isInArray = typeof key === "number";
    const omitted = isInArray ? "would become null" : "would be omitted";
    switch (typeof value) {
      case "string":
      case "boolean":
        return;
      case "number":
        if (!Number.isFinite(value)) throw refused(key, `${value}`, "would become null");
        return;
      case "bigint":
        throw refused(key, "a bigint", "has no JSON form: convert it to a string or a number");
      case "undefined":
        // Omitted from an object, as users of JSON.stringify() expect.
        if (isInArray) throw refused(key, "undefined", omitted);
        return;
      case "object":
        break;
      default:
        throw refused(key, `a ${typeof value}`, omitted);
    }
    if (value === null) {
      if (isInvalidDate(given)) throw refused(key, "an invalid Date", "would become null");
      return;
    }
    if (around.includes(value)) {
      throw refused(key, "a circular reference", "has no JSON form");
    }
    const prototype = Object.getPrototypeOf(value);
    if (!Array.isArray(value) && prototype !== Object.prototype) {
      // JSON.stringify() unboxes primitives, so it would write null for a boxed NaN.
      if (types.isBoxedPrimitive(value)) return visit(value.valueOf(), key);
      // A plain object may have a null prototype or another realm's Object.prototype.
      const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null;
      // A promise is not accepted, and nothing else handles its rejection.
      if (!isPlain) ignoreFailure(value);
      // For example, a Map, a Set, or a Promise that was not awaited.
      if (!isPlain && Object.keys(value).length === 0) {
        throw refused(key, kindOf(value), "would become {}");
      }
    }
    around.push(value);
    keys.push(key);
    for (const each of Array.isArray(value) ? value.keys() : Object.keys(value)) {
      visit((value as Record<Key, unknown>)[each], each);
    }
    around.pop();
    keys.pop();
  };
  visit(whole, "");
}

/** A property name or an array index. */
type Key = string | number;

/** The path of a value, such as `users[0].scores[2]`; empty for the root value. */
function placeOf(keys: readonly Key[]): string {
  return keys.slice(1).map((key, i) => {
    if (typeof key === "number") return `[${key}]`;
    if (!/^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(key)) return `[${JSON.stringify(key)}]`;
    return i === 0 ? key : `.${key}`;
  }).join("");
}

/** Whether JSON.stringify() would write the result of the value's toJSON() method. */
function hasToJson(value: unknown): value is { toJSON(key: string): unknown } {
  const isAsked = typeof value === "object" && value !== null || typeof value === "bigint" ||
    typeof value === "function";
  return isAsked && typeof (value as { toJSON?: unknown }).toJSON === "function";
}

function refusal(path: string, reason: string): TypeError {
  return own(new TypeError(`Cannot write '${path}' as JSON: ${reason}`));
}

function isInvalidDate(value: unknown): boolean {
  return types.isDate(value) && Number.isNaN(Number(value));
}

function styleOf(body: string, mark: string): JsonStyle {
  const lineBreak: JsonStyle["lineBreak"] = body.includes("\r\n") ? "\r\n" : "\n";
  const style = { ...DEFAULT_STYLE, mark, lineBreak, end: body.endsWith("\n") ? lineBreak : "" };
  // Do not use a single pattern: backtracking over long whitespace would take quadratic time.
  const value = body.trimStart();
  const first = value.slice(1).trimStart();
  if (!/^[[{]/.test(value) || /^[\]}]/.test(first)) return style;
  // The whitespace between the outermost brace or bracket and its first member.
  const gap = value.slice(1, value.length - first.length);
  const line = gap.lastIndexOf("\n") + 1;
  const indent = line === 0 ? "" : gap.slice(line);
  return indent.length > MAX_INDENT_CHARS ? style : { ...style, indent };
}

/** Decodes UTF-8 bytes, keeping any byte order mark. */
function decode(bytes: Uint8Array, path: string): string {
  try {
    // With `fatal`, Deno takes three times as long, so set it only if decoding will fail.
    return new TextDecoder("utf-8", { fatal: !isUtf8(bytes), ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    const reason = "the file is not valid UTF-8, or exceeds the maximum length of a string";
    throw new JsonFileError(path, reason, { cause });
  }
}

/** The line and column, counted from 1. The column counts UTF-16 code units, as in most editors. */
function lineOf(text: string, offset: number): { line: number; column: number } {
  const lines = text.slice(0, offset).split("\n");
  return { line: lines.length, column: lines.at(-1)!.length + 1 };
}
