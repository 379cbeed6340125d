import { assert, assertEquals } from "@std/assert";
import { findError } from "../../internal/json/syntax.ts";
import { test } from "../support/test.ts";

test("findError() finds errors exactly where JSON.parse() does", () => {
  const bases = [
    '{"a":1,"b":[true,null,"x\\u00e9"],"c":{"d":-1.5e+10}}',
    " [ 1 , 2 ]\r\n",
    "[[{}]]",
  ];
  const characters = '{}[]",:0123456789-+.eE\\u tfnalsr\n\r\t\u0001\u00a0\ufeffé';
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  let invalid = 0;
  for (let i = 0; i < 20_000; i++) {
    let text = bases[random(bases.length)]!;
    for (let changes = random(3); changes >= 0; changes--) {
      const at = random(text.length + 1);
      const character = [characters[random(characters.length)]!, ""][random(2)];
      text = text.slice(0, at) + character + text.slice(at + random(2));
    }
    let valid = true;
    try {
      JSON.parse(text);
    } catch {
      valid = false;
      invalid++;
    }
    const error = findError(text);
    assertEquals(error === undefined, valid, text);
    // Check that the text before the error is a prefix of valid JSON.
    if (error === undefined) continue;
    const before = findError(text.slice(0, error.offset));
    assertEquals(before?.offset ?? error.offset, error.offset, text);
  }
  assert(invalid > 5_000 && invalid < 20_000);
});
