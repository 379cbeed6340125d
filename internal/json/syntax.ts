/**
 * Finds where a text stops being valid JSON, since engines report this in different words or not at
 * all. Returns undefined if the text is valid JSON.
 */
export function findError(text: string): { offset: number; reason: string } | undefined {
  const space = /[ \t\n\r]*/y;
  const scalar = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
  // Match strings piece by piece, since matching a long string with one pattern could overflow the
  // engine's stack.
  // deno-lint-ignore no-control-regex
  const piece = /[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
  const open: ("}" | "]")[] = [];
  let offset = 0;

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
  const string = () => {
    offset++;
    while (skip(piece));
    if (text[offset] === '"') return void offset++;
    if (text[offset] === "\\") {
      return { offset, reason: "invalid escape sequence" };
    }
    return offset < text.length && text[offset] !== "\n" && text[offset] !== "\r"
      ? { offset, reason: "control characters in strings must be escaped" }
      : { offset, reason: "unterminated string" };
  };
  /** Parses a property name and the colon after it. */
  const name = () => {
    if (text[offset] !== '"') return fail("a property name in double quotes");
    const error = string();
    if (error !== undefined) return error;
    skip(space);
    if (text[offset] !== ":") return fail("':'");
    offset++;
    skip(space);
  };

  skip(space);
  if (offset === text.length) return { offset, reason: "the file is empty" };
  for (;;) {
    // A value begins here.
    const first = text[offset];
    if (first === "{" || first === "[") {
      const close = first === "{" ? "}" : "]";
      offset++;
      skip(space);
      if (text[offset] !== close) {
        open.push(close);
        const error = close === "}" &&
          (text[offset] === '"' ? name() : fail("a property name or '}'"));
        if (error) return error;
        continue;
      }
      offset++;
    } else if (first === '"') {
      const error = string();
      if (error !== undefined) return error;
    } else if (!skip(scalar)) {
      return fail("a value");
    }
    // The value has ended.
    for (;;) {
      skip(space);
      const close = open.at(-1);
      if (close === undefined) {
        return offset === text.length ? undefined : fail("the end of the file");
      }
      if (text[offset] !== close) break;
      open.pop();
      offset++;
    }
    if (text[offset] !== ",") return fail(`',' or '${open.at(-1)}'`);
    const comma = offset++;
    skip(space);
    if (text[offset] === open.at(-1)) {
      return { offset: comma, reason: "JSON does not allow trailing commas" };
    }
    const error = open.at(-1) === "}" ? name() : undefined;
    if (error !== undefined) return error;
  }
}

function quote(character: string): string {
  const shown = JSON.stringify(character).slice(1, -1);
  return character === "'" ? `"'"` : character === '"' ? `'"'` : `'${shown}'`;
}
