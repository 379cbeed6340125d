import { own } from "../base/errors.ts";
import { JsonFileError } from "./error.ts";
import { findError } from "./syntax.ts";

/** What a JSON file holds: its value, and how that is formatted. */
export interface JsonText {
  readonly value: unknown;
  readonly style: JsonStyle;
}

/** How JSON is formatted. */
export interface JsonStyle {
  /** Whether it begins with a byte order mark. */
  readonly mark: boolean;
  /** The indentation of each level; empty to put everything on one line. */
  readonly indent: string;
  readonly lineBreak: "\n" | "\r\n";
  /** Whether it ends with a line break. */
  readonly lastBreak: boolean;
}

/** The style of a new file. */
export const DEFAULT_STYLE: JsonStyle = {
  mark: false,
  indent: "  ",
  lineBreak: "\n",
  lastBreak: true,
};

const MARK = "\ufeff";

/** A longer run of white space is not indentation: each written line would begin with it. */
const MAX_INDENT_CHARS = 64;

/** A value nested deeper than this goes through the replacer, which finds cycles. */
const MAX_PLAIN_DEPTH = 500;

/** Reads JSON from the bytes of the file at `path`. */
export function parseJson(bytes: Uint8Array, path: string): JsonText {
  const text = decode(bytes, path);
  const mark = text.startsWith(MARK);
  const body = mark ? text.slice(1) : text;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (cause) {
    const error = cause instanceof SyntaxError ? findError(body) : undefined;
    // Otherwise it is JSON that is too deep or too large for the engine.
    throw error === undefined
      ? new JsonFileError(path, (cause as Error).message, { cause })
      : new JsonFileError(path, error.reason, { cause, ...placeOf(body, error.offset) });
  }
  return { value, style: styleOf(body, mark) };
}

/**
 * The JSON of a value for the file at `path`, indented, before {@linkcode withStyle}.
 *
 * @throws {TypeError} If JSON cannot represent the value.
 * @throws {RangeError} If it is too deep or too large for the engine.
 */
export function stringifyJson(value: unknown, indent: string, path: string): string {
  let text: string | undefined;
  try {
    // The replacer takes several times as long.
    text = stringify(value, indent, isPlain(value, 0) ? undefined : lossless(path));
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw own(new RangeError(`Cannot write '${path}' as JSON: ${cause.message}`, { cause }));
  }
  // The result for undefined, and for an object whose toJSON() returns it.
  if (text === undefined) {
    throw refusal(path, "the value is undefined; pass null for an empty value");
  }
  return text;
}

/**
 * The JSON of a value that was read from the file at `path`; undefined if it cannot be written,
 * as 1e999, which is read as Infinity.
 */
export function stringifyRead(value: unknown, indent: string, path: string): string | undefined {
  try {
    const text = stringify(value, indent);
    // JSON.stringify() writes null for Infinity.
    if (!text.includes("null") || isPlain(value, 0)) return text;
    return stringifyJson(value, indent, path);
  } catch {
    return undefined;
  }
}

/** Completes JSON that is already indented. */
export function withStyle(body: string, { mark, lineBreak, lastBreak }: JsonStyle): string {
  // JSON has no line breaks inside its strings.
  const text = lineBreak === "\n" ? body : body.replaceAll("\n", lineBreak);
  return (mark ? MARK : "") + text + (lastBreak ? lineBreak : "");
}

type Replacer = (this: unknown, key: string, value: unknown) => unknown;

function stringify(value: unknown, indent: string, replacer?: Replacer): string {
  // JSON.stringify() truncates a longer indent.
  if (indent.length <= 10) return JSON.stringify(value, replacer, indent);
  const text = JSON.stringify(value, replacer, "\t");
  return text?.replaceAll(/^\t+/gm, (tabs) => indent.repeat(tabs.length));
}

/** Whether JSON.stringify() represents all of a value: one of literals, arrays and plain objects. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value);
    case "object": {
      if (value === null) return true;
      if (depth === MAX_PLAIN_DEPTH || "toJSON" in value) return false;
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length; i++) if (!isPlain(value[i], depth + 1)) return false;
        return true;
      }
      const prototype = Object.getPrototypeOf(value);
      if (prototype !== null && prototype !== Object.prototype) return false;
      for (const key in value) {
        const part: unknown = value[key as keyof typeof value];
        if (part !== undefined && !isPlain(part, depth + 1)) return false;
      }
      return true;
    }
    default:
      return false;
  }
}

/** A replacer that throws where JSON.stringify() would silently write something else. */
function lossless(path: string): Replacer {
  /** The objects around the current value, outermost first, each with its key in the one before. */
  const around: { object: unknown; key: string }[] = [];
  const objects = new Set<unknown>();

  const check = (holder: unknown, key: string, value: unknown): void => {
    const refuse = (what: string, instead: string) => {
      const where = placeIn([...around, { object: undefined, key }]);
      return refusal(path, `${what}${where && ` at '${where}'`} ${instead}`);
    };
    const omitted = Array.isArray(holder) ? "would become null" : "would be left out";
    switch (typeof value) {
      case "string":
      case "boolean":
        return;
      case "number":
        if (!Number.isFinite(value)) throw refuse(`${value}`, "would become null");
        return;
      case "bigint":
        throw refuse("a bigint", "is not JSON: convert it to a string or a number");
      case "undefined":
        // Left out of an object, as JSON.stringify() is known to do.
        if (Array.isArray(holder)) throw refuse("undefined", omitted);
        return;
      case "object":
        break;
      default:
        throw refuse(`a ${typeof value}`, omitted);
    }
    if (value === null) {
      if (!isInvalidDate((holder as Record<string, unknown>)[key])) return;
      throw refuse("an invalid Date", "would become null");
    }
    if (objects.has(value)) throw refuse("a reference to an object around it", "is not JSON");
    if (Array.isArray(value)) return;
    const prototype = Object.getPrototypeOf(value);
    // The second is a plain object too, of another realm.
    if (prototype === null || Object.getPrototypeOf(prototype) === null) return;
    // JSON.stringify() unboxes what this returns, and would write null for a boxed NaN.
    const bare: unknown = isBoxed(value) ? value.valueOf() : value;
    if (typeof bare !== "object") return check(holder, key, bare);
    if (Object.keys(value).length > 0) return;
    // A Map, a Set, or a Promise that was not awaited.
    throw refuse(`a ${value.constructor?.name || "class instance"}`, "would become {}");
  };

  return function (key, value) {
    while (around.length > 0 && around.at(-1)!.object !== this) {
      objects.delete(around.pop()!.object);
    }
    check(this, key, value);
    if (typeof value === "object" && value !== null) {
      around.push({ object: value, key });
      objects.add(value);
    }
    return value;
  };
}

/** Where a value is, such as `users[0].scores[2]`; empty for the whole. */
function placeIn(parts: readonly { object: unknown; key: string }[]): string {
  return parts.slice(1).map(({ key }, i) => {
    if (Array.isArray(parts[i]!.object)) return `[${key}]`;
    if (!/^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(key)) return `[${JSON.stringify(key)}]`;
    return i === 0 ? key : `.${key}`;
  }).join("");
}

function refusal(path: string, reason: string): TypeError {
  return own(new TypeError(`Cannot write '${path}' as JSON: ${reason}`));
}

function isInvalidDate(value: unknown): boolean {
  return Object.prototype.toString.call(value) === "[object Date]" && Number.isNaN(Number(value));
}

function isBoxed(value: object): boolean {
  return /^\[object (Number|Boolean|String|BigInt)\]$/.test(Object.prototype.toString.call(value));
}

function styleOf(body: string, mark: boolean): JsonStyle {
  const lineBreak = body.includes("\r\n") ? "\r\n" : "\n";
  const lastBreak = body.endsWith("\n");
  // Not with one pattern, which would backtrack: quadratic time for a long run of white space.
  const value = body.trimStart();
  const first = value.slice(1).trimStart();
  if (!/^[[{]/.test(value) || /^[\]}]/.test(first)) {
    return { ...DEFAULT_STYLE, mark, lineBreak, lastBreak };
  }
  // Between the outermost brace or bracket and the first thing in it.
  const gap = value.slice(1, value.length - first.length);
  const line = gap.lastIndexOf("\n") + 1;
  const found = line === 0 ? "" : gap.slice(line);
  const indent = found.length <= MAX_INDENT_CHARS ? found : DEFAULT_STYLE.indent;
  return { mark, indent, lineBreak, lastBreak };
}

/** The text of UTF-8 bytes, with its byte order mark. */
function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    const reason = "the text is not UTF-8, or is longer than a string can be";
    throw new JsonFileError(path, reason, { cause });
  }
}

/** Line and column, both counted from 1, the column in UTF-16 units as editors count. */
function placeOf(text: string, offset: number): { line: number; column: number } {
  let line = 1;
  let start = 0;
  for (let at; (at = text.indexOf("\n", start)) >= 0 && at < offset; start = at + 1) line++;
  return { line, column: offset - start + 1 };
}
