import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { JsonFileError, readJson } from "../../json.ts";
import { inTempDir, text } from "../support/dir.ts";
import { CORRUPT, forms } from "../support/json_forms.ts";
import { isWindows, test } from "../support/test.ts";

const decodeLatin1 = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

for (const { read, write, update, readName, updateName } of forms) {
  test(`${readName} returns undefined when the file does not exist`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      assertStrictEquals(await read(file), undefined);
      assertStrictEquals(await read(path.join(dir, "no", "directory")), undefined);
      await write(file, null);
      assertStrictEquals(await read(file), null);
    }));

  test(
    `${readName} fails when the path is not a regular file`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "1");
        for (const [wrong, code] of [[dir, "EISDIR"], [path.join(file, "x"), "ENOTDIR"]]) {
          const error = await assertRejects(() => read(wrong!), Error, `Cannot read '${wrong}'`);
          assertEquals((error as Error & { code?: string }).code, code);
        }
      }),
    { skip: isWindows && "error codes differ on Windows" },
  );

  test(`${readName} reports where a corrupt file stops being valid JSON`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (const [content, line, column, reason] of CORRUPT) {
        fs.writeFileSync(file, content);
        const error = await assertRejects(() => read(file), JsonFileError);
        assertEquals([error.path, error.line, error.column], [file, line, column], content);
        assertEquals(
          error.message,
          `Invalid JSON file '${file}' at line ${line}, column ${column}: ${reason}`,
        );
        assertEquals([error.name, (error.cause as Error).name], ["JsonFileError", "SyntaxError"]);
      }
    }));

  test(`${readName} and ${updateName} reject text that is not UTF-8`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const contents = [
        '{"caf\xe9": 1}', // Latin-1
        "\xff\xfe{\0}\0", // UTF-16
        '["\xc3\xa9\xed\xa0\x80"]', // half of a surrogate pair
        '"\xe2\x82', // truncated
      ];
      for (const content of contents) {
        fs.writeFileSync(file, decodeLatin1(content));
        const error = await assertRejects(() => read(file), JsonFileError, "is not valid UTF-8");
        assertEquals([error.path, error.line, error.column], [file, undefined, undefined]);
        await assertRejects(() => update(file, () => 1), JsonFileError);
        assertEquals(fs.readFileSync(file, "latin1"), content);
      }
    }));

  test(`${readName} runs in linear time on a long run of white space`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const blanks = " ".repeat(1_000_000);
      const texts: [content: string, value: unknown][] = [
        [`${blanks}[${blanks}]${blanks}`, []],
        [`{\n${blanks}\n"a":${blanks}1}`, { a: 1 }],
        [`{${"\r\n".repeat(1_000_000)}\t}`, {}],
      ];
      for (const [content, value] of texts) {
        fs.writeFileSync(file, content);
        assertEquals(await read(file), value);
      }
    }));

  test(`${readName} rounds integers above 2^53, as JSON.parse() does`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "[9007199254740991,9007199254740993,1e400]");
      assertEquals(await read(file), [2 ** 53 - 1, 2 ** 53, Infinity]);
    }));

  test(`${readName} and ${updateName} treat __proto__ as an ordinary key`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const content = '{"__proto__":{"polluted":true},"constructor":1}';
      fs.writeFileSync(file, content);
      const value = await read<{ polluted?: boolean }>(file);
      assertEquals([value!.polluted, ({} as { polluted?: boolean }).polluted], [
        undefined,
        undefined,
      ]);
      assertEquals(Object.keys(value!), ["__proto__", "constructor"]);
      await update<object>(file, (value) => ({ ...value, more: 2 }));
      assertEquals(text(file), '{"__proto__":{"polluted":true},"constructor":1,"more":2}');
    }));
}

test("JsonFileError has no line and column when the JSON is too deeply nested for the engine", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "[".repeat(200_000) + "]".repeat(200_000));
    let value: unknown;
    try {
      value = await readJson(file);
    } catch (error) {
      const { line, column } = error as JsonFileError;
      assertEquals([error instanceof JsonFileError, line, column], [true, undefined, undefined]);
      return;
    }
    assert(Array.isArray(value));
  }));
