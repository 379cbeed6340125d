import { assertEquals, assertRejects } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { runInNewContext } from "node:vm";
import { JsonFileError, readJson, writeJson } from "../../json.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { forms } from "../support/json_forms.ts";
import { isBun, test } from "../support/test.ts";

for (const { read, write, update, readName, writeName, updateName } of forms) {
  test(`${writeName} indents by two spaces and ends with a line break by default`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const value = { a: [1] };
      const wanted: [number | string | undefined, string][] = [
        [undefined, '{\n  "a": [\n    1\n  ]\n}\n'],
        [0, '{"a":[1]}\n'],
        ["", '{"a":[1]}\n'],
        [1, '{\n "a": [\n  1\n ]\n}\n'],
        ["\t", '{\n\t"a": [\n\t\t1\n\t]\n}\n'],
      ];
      for (const [indent, content] of wanted) {
        await write(file, value, indent === undefined ? {} : { indent });
        assertEquals(text(file), content);
      }
    }));

  test(`${writeName} and ${updateName} reject what JSON cannot represent`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "1");
      const cycle: unknown[] = [];
      cycle.push(cycle);
      class Private {
        #secret = 1;
        get secret(): number {
          return this.#secret;
        }
      }
      const refused: [value: unknown, message: string][] = [
        [{ toJSON: () => undefined }, "the value is undefined; use null for an empty value"],
        [() => {}, "a function would be omitted"],
        [Symbol("x"), "a symbol would be omitted"],
        [1n, "a bigint has no JSON form: convert it to a string or a number"],
        [NaN, "NaN would become null"],
        [{ a: [-Infinity] }, "-Infinity at 'a[0]' would become null"],
        [[new Number(NaN)], "NaN at '[0]' would become null"],
        [{ a: Object(Infinity) }, "Infinity at 'a' would become null"],
        [Object(1n), "a bigint has no JSON form"],
        [{ a: { b: () => {} } }, "a function at 'a.b' would be omitted"],
        [[1, () => {}], "a function at '[1]' would become null"],
        [[1, undefined], "undefined at '[1]' would become null"],
        // deno-lint-ignore no-sparse-arrays
        [[, 1], "undefined at '[0]' would become null"],
        [{ users: [{ scores: [1, 2, NaN] }] }, "NaN at 'users[0].scores[2]' would become null"],
        [
          { all: [{ x: 1 }, { x: 1 }], "a-b": [[1n]] },
          "a bigint at '[\"a-b\"][0][0]' has no JSON form",
        ],
        [{ a: { toJSON: () => ({ b: NaN }) } }, "NaN at 'a.b' would become null"],
        [new Map([[1, 2]]), "a Map would become {}"],
        [{ all: new Set([1]) }, "a Set at 'all' would become {}"],
        [
          { later: Promise.resolve(1) },
          "a Promise (missing `await`?) at 'later' would become {}",
        ],
        [new Private(), "a Private would become {}"],
        [{ at: new Date(NaN) }, "an invalid Date at 'at' would become null"],
        [{ all: cycle }, "a circular reference at 'all[0]' has no JSON form"],
      ];
      for (const [value, message] of refused) {
        const whole = `Cannot write '${file}' as JSON: ${message}`;
        await assertRejects(() => write(file, value), TypeError, whole);
        await assertRejects(() => update(file, () => value), TypeError, whole);
        assertEquals([text(file), list(dir)], ["1", ["file"]]);
      }
    }));

  test(`${writeName} accepts what JSON can represent`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      class Point {
        constructor(readonly x: number) {}
      }
      const named = (tag: string) =>
        Object.assign(Object.create(null), { [Symbol.toStringTag]: tag });
      const value = {
        date: new Date(0),
        left: undefined,
        point: new Point(1),
        bare: Object.assign(Object.create(null), { a: 1 }),
        empty: [{}, [], Object.create(null)],
        boxed: [new Number(1), new String(""), new Boolean(false)],
        // These are not boxed values, because JSON.stringify() ignores the tag.
        tagged: [
          named("Number"),
          named("String"),
          Object.assign(new Point(2), named("Number")),
          Object.assign(named("Date"), { toJSON: () => null }),
        ],
        other: runInNewContext("({ a: [1], b: {} })"),
        half: "\ud800",
        url: new URL("https://example.com/"),
      };
      await write(file, value, { indent: 0 });
      assertEquals(
        text(file),
        '{"date":"1970-01-01T00:00:00.000Z","point":{"x":1},"bare":{"a":1},"empty":[{},[],{}],' +
          '"boxed":[1,"",false],"tagged":[{},{},{"x":2},null],"other":{"a":[1],"b":{}},"half":"\\ud800","url":"https://example.com/"}\n',
      );
    }));

  test(`${readName}, ${writeName} and ${updateName} reject invalid options`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const wrong: [options: unknown, error: typeof TypeError | typeof RangeError][] = [
        [null, TypeError],
        [[], TypeError],
        [{ check: 1 }, TypeError],
        [{ chek: () => {} }, TypeError],
        [Object.create({ check: 1 }), TypeError],
      ];
      const wrongToWrite: typeof wrong = [
        ...wrong,
        [{ indent: true }, TypeError],
        [{ indent: 11 }, RangeError],
        [{ indent: 1.5 }, RangeError],
        [{ indent: "--" }, RangeError],
        [{ durability: "much" }, RangeError],
      ];
      for (const [options, error] of wrong) {
        await assertRejects(() => read(file, options as object), error);
      }
      for (const [options, error] of wrongToWrite) {
        await assertRejects(() => write(file, 1, options as object), error);
        await assertRejects(() => update(file, () => 1, options as object), error);
      }
      await assertRejects(() => update(file, null as unknown as () => 1), TypeError, "'fn'");
      assertEquals(fs.readdirSync(dir), []);
    }));

  test(
    `${writeName} and ${updateName} name the file when a value is too deeply nested`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        const content = "[".repeat(20_000) + "]".repeat(20_000);
        fs.writeFileSync(file, content);
        const message = `Cannot write '${file}' as JSON: `;
        await assertRejects(() => write(file, JSON.parse(content)), RangeError, message);
        await assertRejects(() => update(file, (value) => value), RangeError, message);
        assertEquals(text(file), content);
      }),
    { skip: isBun && "Bun can write such a value" },
  );
}

test("readJson() and writeJson() name the file when the engine runs out of memory", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "1");
    const { parse, stringify } = JSON;
    const fail = () => {
      throw new RangeError("Out of memory");
    };
    try {
      Object.assign(JSON, { parse: fail, stringify: fail });
      await assertRejects(
        () => readJson(file),
        JsonFileError,
        `JSON file '${file}': Out of memory`,
      );
      const message = `Cannot write '${file}' as JSON: Out of memory`;
      await assertRejects(() => writeJson(file, 2), RangeError, message);
    } finally {
      Object.assign(JSON, { parse, stringify });
    }
    assertEquals(text(file), "1");
  }));
