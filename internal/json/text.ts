import { JsonFileError } from "./error.ts";
import { findError } from "./syntax.ts";

/** JSON of a file: its value, and how it is written down. */
export interface JsonText {
  readonly value: unknown;
  readonly text: string;
  readonly style: JsonStyle;
}

/** How JSON is written down, but for its value. */
export interface JsonStyle {
  /** Whether a byte order mark comes first. */
  readonly mark: boolean;
  /** What each level is indented by; empty for all on one line. */
  readonly indent: string;
  readonly lineBreak: "\n" | "\r\n";
  /** Whether a line break comes last. */
  readonly lastBreak: boolean;
}

/** The style of a file that has none yet. */
export const DEFAULT_STYLE: JsonStyle = {
  mark: false,
  indent: "  ",
  lineBreak: "\n",
  lastBreak: true,
};

const MARK = "\ufeff";

/** What is longer is no indent: each line of what is written would begin with it. */
const MAX_INDENT_CHARS = 64;

/** Reads JSON from the bytes of the file at `path`. */
export function parseJson(bytes: Uint8Array, path: string): JsonText {
  const text = decode(bytes, path);
  const mark = text.startsWith(MARK);
  const body = mark ? text.slice(1) : text;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (cause) {
    const error = findError(body);
    // Without one it is JSON, but nested deeper than the engine can go.
    throw error === undefined
      ? new JsonFileError(path, (cause as Error).message, { cause })
      : new JsonFileError(path, error.reason, { cause, ...placeOf(body, error.offset) });
  }
  return { value, text, style: styleOf(body, mark) };
}

/**
 * Writes JSON in a style.
 *
 * @throws {TypeError} If JSON cannot hold the value.
 */
export function stringifyJson(value: unknown, style: JsonStyle): string {
  const { mark, indent, lineBreak, lastBreak } = style;
  let text = write(value, indent);
  // JSON has no line breaks inside of its strings.
  if (lineBreak !== "\n") text = text.replaceAll("\n", lineBreak);
  return (mark ? MARK : "") + text + (lastBreak ? lineBreak : "");
}

/**
 * Whether a value is the one of a text that is JSON, with or without a byte order mark.
 *
 * @throws {TypeError} If JSON cannot hold the value, but for an Infinity: the text may have 1e999.
 */
export function isValueOf(text: string, value: unknown): boolean {
  return comparable(value) === comparable(parseText(text));
}

/** The value of a text that is JSON, with or without a byte order mark. */
export function parseText(text: string): unknown {
  return JSON.parse(text.startsWith(MARK) ? text.slice(1) : text);
}

function write(value: unknown, indent: string): string {
  // JSON.stringify() cuts an indent that is longer.
  const isLong = indent.length > 10;
  const text: string | undefined = JSON.stringify(value, refuseLoss, isLong ? "\t" : indent);
  // JSON.stringify() returns it for undefined, and for what has a toJSON() that does.
  if (text === undefined) {
    throw new TypeError("JSON cannot hold undefined: return or pass null for an empty value");
  }
  return isLong ? text.replaceAll(/^\t+/gm, (tabs) => indent.repeat(tabs.length)) : text;
}

/** A text that is the same for the same values. An Infinity is a string in it, unlike all strings. */
function comparable(value: unknown): string | undefined {
  return JSON.stringify(value, function (this: unknown, key, part: unknown) {
    if (part === Infinity || part === -Infinity) return `${part}`;
    const held = refuseLoss.call(this, key, part);
    return typeof held === "string" ? `"${held}` : held;
  });
}

/** A replacer that throws where JSON.stringify() would write something else without a word. */
function refuseLoss(this: unknown, key: string, value: unknown): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      if (!Number.isFinite(value)) throw unholdable(key, `${value}`, "null");
      return value;
    case "object": {
      if (value === null && isInvalidDate((this as Record<string, unknown>)[key])) {
        throw unholdable(key, "an invalid Date", "null");
      }
      if (value === null || Array.isArray(value)) return value;
      const prototype = Object.getPrototypeOf(value);
      if (prototype === null || prototype === Object.prototype) return value;
      // A plain object of another realm is one too.
      if (Object.getPrototypeOf(prototype) === null) return value;
      // JSON.stringify() unboxes only what this returns: NaN would get past it.
      const bare: unknown = isBoxed(value) ? value.valueOf() : value;
      if (typeof bare !== "object") return refuseLoss.call(this, key, bare);
      if (Object.keys(value).length > 0) return value;
      // A Map, a Set, a Promise that was not awaited.
      throw unholdable(key, `a ${value.constructor?.name || "class instance"}`, "{}");
    }
    case "undefined":
      // Left out of an object, as everywhere.
      if (Array.isArray(this)) throw unholdable(key, "undefined", "null");
      return value;
    default:
      throw unholdable(key, `a ${typeof value}`, typeof value === "bigint" ? undefined : "nothing");
  }
}

function isInvalidDate(value: unknown): boolean {
  return Object.prototype.toString.call(value) === "[object Date]" && Number.isNaN(Number(value));
}

function isBoxed(value: object): boolean {
  return /^\[object (Number|Boolean|String|BigInt)\]$/.test(Object.prototype.toString.call(value));
}

function unholdable(key: string, what: string, becomes: string | undefined): TypeError {
  const where = key === "" ? "" : ` at '${key}'`;
  const loss = becomes === undefined ? "" : `: it would become ${becomes}`;
  return new TypeError(`JSON cannot hold ${what}${where}${loss}`);
}

function styleOf(body: string, mark: boolean): JsonStyle {
  const lineBreak = body.includes("\r\n") ? "\r\n" : "\n";
  const lastBreak = body.endsWith("\n");
  // Not by one pattern, which would backtrack: quadratic time for a long run of white space.
  const value = body.trimStart();
  const first = value.slice(1).trimStart();
  if (!/^[[{]/.test(value) || /^[\]}]/.test(first)) {
    return { ...DEFAULT_STYLE, mark, lineBreak, lastBreak };
  }
  // What is between the outermost brace or bracket and the first thing in it.
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
    const offset = invalidUtf8At(bytes);
    if (offset === undefined) {
      throw new JsonFileError(path, "the text is longer than a string can be", { cause });
    }
    const before = new TextDecoder().decode(bytes.subarray(0, offset));
    const place = placeOf(before, before.length);
    throw new JsonFileError(path, "the text is not UTF-8", { cause, ...place });
  }
}

/** The offset of the first byte that is not part of UTF-8. */
function invalidUtf8At(bytes: Uint8Array): number | undefined {
  // One for all: to make one takes longer than to decode a character.
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let i = 0; i < bytes.byteLength;) {
    const byte = bytes[i]!;
    const length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    if (length > 1) {
      try {
        decoder.decode(bytes.subarray(i, i + length));
      } catch {
        return i;
      }
    }
    i += length;
  }
  return undefined;
}

/** Line and column, both from 1, the column in UTF-16 units as editors count. */
function placeOf(text: string, offset: number): { line: number; column: number } {
  let line = 1;
  let start = 0;
  for (let at; (at = text.indexOf("\n", start)) >= 0 && at < offset; start = at + 1) line++;
  return { line, column: offset - start + 1 };
}
