/**
 * Finds where a text stops being valid JSON, since engines report this in different words or not at
 * all. Returns undefined if the text is valid JSON.
 */
export function findError(text: string): { offset: number; reason: string } | undefined {
  const space = /[ \t\n\r]*/y;
  const scalar = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
  // Match piece by piece, since matching one long string could overflow an engine's stack.
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
      return { offset, reason: "comments are not JSON" };
    }
    const found = text.codePointAt(offset);
    const what = found === undefined
      ? "the text ends"
      : `found ${quote(String.fromCodePoint(found))}`;
    return { offset, reason: `expected ${expected} but ${what}` };
  };
  const string = () => {
    offset++;
    while (skip(piece));
    if (text[offset] === '"') return void offset++;
    if (text[offset] === "\\") {
      return { offset, reason: "the escape sequence is not JSON" };
    }
    return offset < text.length && text[offset] !== "\n" && text[offset] !== "\r"
      ? { offset, reason: "a control character must be escaped in a string" }
      : { offset, reason: "the string does not end" };
  };
  /** A name and its colon. */
  const name = () => {
    if (text[offset] !== '"') return fail("a name in double quotes");
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
        const error = close === "}" && (text[offset] === '"' ? name() : fail("a name or '}'"));
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
      if (close === undefined) return offset === text.length ? undefined : fail("the end");
      if (text[offset] !== close) break;
      open.pop();
      offset++;
    }
    if (text[offset] !== ",") return fail(`',' or '${open.at(-1)}'`);
    const comma = offset++;
    skip(space);
    if (text[offset] === open.at(-1)) {
      return { offset: comma, reason: "a trailing comma is not JSON" };
    }
    const error = open.at(-1) === "}" ? name() : undefined;
    if (error !== undefined) return error;
  }
}

function quote(character: string): string {
  const shown = JSON.stringify(character).slice(1, -1);
  return character === "'" ? `"'"` : character === '"' ? `'"'` : `'${shown}'`;
}
