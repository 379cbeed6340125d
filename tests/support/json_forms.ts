import {
  readJson,
  readJsonSync,
  updateJson,
  updateJsonSync,
  writeJson,
  writeJsonSync,
} from "../../json.ts";

/** Turns an exception thrown by a synchronous form into a rejection. */
function later<A extends unknown[], R>(fn: (...args: A) => R): (...args: A) => Promise<R> {
  return (...args) => new Promise((resolve) => resolve(fn(...args)));
}

/** Both forms of the JSON functions, with the signatures of the asynchronous ones. */
export const forms: {
  suffix: string;
  read: typeof readJson;
  write: typeof writeJson;
  update: typeof updateJson;
  readName: string;
  writeName: string;
  updateName: string;
}[] = [
  { suffix: "", read: readJson, write: writeJson, update: updateJson },
  {
    suffix: "Sync",
    read: later(readJsonSync) as typeof readJson,
    write: later(writeJsonSync) as typeof writeJson,
    update: later(updateJsonSync) as unknown as typeof updateJson,
  },
].map((form) => ({
  ...form,
  readName: `readJson${form.suffix}()`,
  writeName: `writeJson${form.suffix}()`,
  updateName: `updateJson${form.suffix}()`,
}));

/** Texts that are not valid JSON, with the position and reason that the error must report. */
export const CORRUPT: [text: string, line: number, column: number, reason: string][] = [
  ["", 1, 1, "the file is empty"],
  [" \n\t", 2, 2, "the file is empty"],
  ['{"a": 1', 1, 8, "expected ',' or '}' but the file ends"],
  ['{\n  "a": 1,\n}\n', 2, 9, "JSON does not allow trailing commas"],
  ["[1 , ]", 1, 4, "JSON does not allow trailing commas"],
  ['{\r\n  "a": 1\r\n  "b": 2\r\n}', 3, 3, "expected ',' or '}' but found '\"'"],
  ["{a: 1}", 1, 2, "expected a property name in double quotes but found 'a'"],
  ['{"a" 1}', 1, 6, "expected ':' but found '1'"],
  ["[,1]", 1, 2, "expected a value but found ','"],
  ["[1 2]", 1, 4, "expected ',' or ']' but found '2'"],
  ["[01]", 1, 3, "expected ',' or ']' but found '1'"],
  ["{}{}", 1, 3, "expected the end of the file but found '{'"],
  ["// Settings\n{}", 1, 1, "JSON does not allow comments"],
  ['{\n  "a": 1, /* b */\n  "c": 2\n}', 2, 11, "JSON does not allow comments"],
  ['{\n  "a": 1 // one\n}', 2, 10, "JSON does not allow comments"],
  ["[1, // one\n]", 1, 5, "JSON does not allow comments"],
  ["[1 / 2]", 1, 4, "expected ',' or ']' but found '/'"],
  ['"é𝄞" x', 1, 7, "expected the end of the file but found 'x'"],
  ['["tab\tin it"]', 1, 6, "control characters in strings must be escaped"],
  ['"a\\x"', 1, 3, "invalid escape sequence"],
  ['["open\n]', 1, 7, "unterminated string"],
  ["undefined", 1, 1, "expected a value but found 'u'"],
  ["\0\0\0\0", 1, 1, "expected a value but found '\\u0000'"],
  ["<<<<<<< HEAD\n{}\n", 1, 1, "expected a value but found '<'"],
];
