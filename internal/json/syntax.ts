/** Whitespace, and a literal or a number. */
const SPACE = /[ \t\n\r]*/y;
const SCALAR = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
/**
 * A piece of a string. Strings are matched piece by piece, since matching a long one all at once
 * could overflow the engine's stack.
 */
// deno-lint-ignore no-control-regex
const PIECE = /[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/**
 * Finds where a text stops being valid JSON, since engines report the position in different ways or
 * not at all. Returns undefined if the text is valid JSON.
 */
export function findError(text: string): { offset: number; reason: string } | undefined {
  /** The closing brackets of the objects and arrays around the current position. */
  const open: ("}" | "]")[] = [];
  let offset = 0;
  let expected: "value" | "name" | "end of value" = "value";

  const skip = (pattern: RegExp): boolean => {
    pattern.lastIndex = offset;
    const matched = pattern.test(text);
    if (matched) offset = pattern.lastIndex;
    return matched;
  };
  const fail = (expected: string) => {
    if (/^\/[/*]/.test(text.slice(offset, offset + 2))) {
      return { offset, reason: "JSON does not allow comments" };
    }
    const found = text.codePointAt(offset);
    const what = found === undefined
      ? "the file ends"
      : `found ${quote(String.fromCodePoint(found))}`;
    return { offset, reason: `expected ${expected} but ${what}` };
  };

  skip(SPACE);
  if (offset === text.length) return { offset, reason: "the file is empty" };
  for (;; skip(SPACE)) {
    const next = text[offset];
    if (expected === "end of value") {
      const close = open.at(-1);
      if (close === undefined) {
        return offset === text.length ? undefined : fail("the end of the file");
      }
      if (next !== "," && next !== close) return fail(`',' or '${close}'`);
      const comma = offset++;
      if (next === close) {
        open.pop();
        continue;
      }
      skip(SPACE);
      if (text[offset] === close) {
        return { offset: comma, reason: "JSON does not allow trailing commas" };
      }
      expected = close === "}" ? "name" : "value";
    } else if (next === '"') {
      offset++;
      while (skip(PIECE));
      if (text[offset] !== '"') return { offset, reason: stringFault(text[offset]) };
      offset++;
      if (expected === "name") {
        skip(SPACE);
        if (text[offset] !== ":") return fail("':'");
        offset++;
        expected = "value";
      } else expected = "end of value";
    } else if (expected === "name") {
      return fail("a property name in double quotes");
    } else if (next === "{" || next === "[") {
      offset++;
      skip(SPACE);
      open.push(next === "{" ? "}" : "]");
      if (text[offset] === open.at(-1)) expected = "end of value";
      else if (next === "{") expected = "name";
    } else if (skip(SCALAR)) {
      expected = "end of value";
    } else return fail("a value");
  }
}

/** Why a string cannot continue with `next`, which is undefined at the end of the text. */
function stringFault(next: string | undefined): string {
  if (next === "\\") return "invalid escape sequence";
  return next === undefined || next === "\n" || next === "\r"
    ? "unterminated string"
    : "control characters in strings must be escaped";
}

function quote(character: string): string {
  const shown = JSON.stringify(character).slice(1, -1);
  return character === "'" ? `"'"` : character === '"' ? `'"'` : `'${shown}'`;
}
