import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { runInNewContext } from "node:vm";
import { findError } from "../../internal/json/syntax.ts";
import {
  JsonFileError,
  readJson,
  readJsonSync,
  updateJson,
  updateJsonSync,
  writeJson,
  writeJsonSync,
} from "../../json.ts";
import { DirLock } from "../../lock.ts";
import { Child } from "../support/child.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { recorded } from "../support/runtime.ts";
import { isDeno, isRoot, isWindows, test } from "../support/test.ts";

/** Makes what a synchronous form throws a rejection. */
function later<A extends unknown[], R>(fn: (...args: A) => R): (...args: A) => Promise<R> {
  return (...args) => new Promise((resolve) => resolve(fn(...args)));
}

/** Both forms, behind the signatures of the asynchronous one. */
const forms = [
  { suffix: "", read: readJson, write: writeJson, update: updateJson },
  {
    suffix: "Sync",
    read: later(readJsonSync) as typeof readJson,
    write: later(writeJsonSync) as typeof writeJson,
    update: later(updateJsonSync) as unknown as typeof updateJson,
  },
];

/** Texts that are no JSON, and where they stop being it. */
const CORRUPT: [text: string, line: number, column: number, reason: string][] = [
  ["", 1, 1, "the file is empty"],
  [" \n\t", 2, 2, "the file is empty"],
  ['{"a": 1', 1, 8, "expected ',' or '}' but the text ends"],
  ['{\n  "a": 1,\n}\n', 3, 1, "expected a name in double quotes but found '}'"],
  ['{\r\n  "a": 1\r\n  "b": 2\r\n}', 3, 3, "expected ',' or '}' but found '\"'"],
  ["{a: 1}", 1, 2, "expected a name or '}' but found 'a'"],
  ['{"a" 1}', 1, 6, "expected ':' but found '1'"],
  ["[1,]", 1, 4, "expected a value but found ']'"],
  ["[1 2]", 1, 4, "expected ',' or ']' but found '2'"],
  ["[01]", 1, 3, "expected ',' or ']' but found '1'"],
  ["{}{}", 1, 3, "expected the end but found '{'"],
  ['"é𝄞" x', 1, 7, "expected the end but found 'x'"],
  ['["tab\tin it"]', 1, 6, "a control character must be escaped in a string"],
  ['"a\\x"', 1, 3, "the escape sequence is not one of JSON's"],
  ['["open\n]', 1, 7, "the string does not end"],
  ["undefined", 1, 1, "expected a value but found 'u'"],
  ["\0\0\0\0", 1, 1, "expected a value but found '\\u0000'"],
  ["<<<<<<< HEAD\n{}\n", 1, 1, "expected a value but found '<'"],
];

const decodeLatin1 = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

for (const { suffix, read, write, update } of forms) {
  const [readName, writeName, updateName] = ["read", "write", "update"].map((verb) =>
    `${verb}Json${suffix}()`
  );

  test(`${readName} is undefined where there is no file, and only there`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      assertStrictEquals(await read(file), undefined);
      assertStrictEquals(await read(path.join(dir, "no", "directory")), undefined);
      await write(file, null);
      assertStrictEquals(await read(file), null);
    }));

  test(
    `${readName} fails where there is something else`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "1");
        for (const [wrong, code] of [[dir, "EISDIR"], [path.join(file, "x"), "ENOTDIR"]]) {
          const error = await assertRejects(() => read(wrong!), Error, `Cannot read '${wrong}'`);
          assertEquals((error as Error & { code?: string }).code, code);
        }
      }),
    { skip: isWindows && "other codes on Windows" },
  );

  test(`${readName} tells where a corrupt file stops being JSON`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (const [content, line, column, reason] of CORRUPT) {
        fs.writeFileSync(file, content);
        const error = await assertRejects(() => read(file), JsonFileError);
        assertEquals([error.path, error.line, error.column], [file, line, column], content);
        assertEquals(
          error.message,
          `Cannot use '${file}' as JSON at line ${line}, column ${column}: ${reason}`,
        );
        assertEquals([error.name, (error.cause as Error).name], ["JsonFileError", "SyntaxError"]);
      }
    }));

  test(`${updateName} never overwrites a corrupt file, nor calls the function`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (const [content] of CORRUPT) {
        fs.writeFileSync(file, content);
        let called = false;
        await assertRejects(() => update(file, () => called = true), JsonFileError);
        assertEquals([text(file), called, list(dir)], [content, false, ["file"]]);
      }
    }));

  test(`${readName} refuses what is not UTF-8, and tells where`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const places: [string, number, number][] = [
        ['{\n "caf\xe9": 1}', 2, 6], // Latin-1
        ["\xff\xfe{\0}\0", 1, 1], // UTF-16
        ['["\xc3\xa9\xed\xa0\x80"]', 1, 4], // half of a surrogate pair
        ['"\xe2\x82', 1, 2], // cut off
      ];
      for (const [content, line, column] of places) {
        fs.writeFileSync(file, decodeLatin1(content));
        const error = await assertRejects(() => read(file), JsonFileError, "is not UTF-8");
        assertEquals([error.line, error.column], [line, column]);
        await assertRejects(() => update(file, () => 1), JsonFileError);
        assertEquals(fs.readFileSync(file, "latin1"), content);
      }
    }));

  test(`${readName} accepts a byte order mark, and ${updateName} keeps it`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, '\ufeff{"a":1}');
      assertEquals(await read(file), { a: 1 });
      await update<{ a: number }>(file, (value) => ({ a: value!.a + 1 }));
      assertEquals(text(file), '\ufeff{"a":2}');
      fs.writeFileSync(file, "\ufeff{");
      const { column } = await assertRejects(() => read(file), JsonFileError);
      assertEquals(column, 2);
    }));

  test(`${writeName} writes two spaces and a last line break, or as it is told`, () =>
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

  test(`${updateName} keeps indentation and line breaks`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const kept: [before: string, after: string][] = [
        ['{\n    "n": 1\n}\n', '{\n    "n": 2\n}\n'],
        ['{\n    "n": 1\n}', '{\n    "n": 2\n}'],
        ['{\n\t"n": 1\n}\n', '{\n\t"n": 2\n}\n'],
        ['{\r\n  "n": 1\r\n}\r\n', '{\r\n  "n": 2\r\n}\r\n'],
        [`{\n${" ".repeat(12)}"n": 1\n}\n`, `{\n${" ".repeat(12)}"n": 2\n}\n`],
        ['{"n":1}', '{"n":2}'],
        ['{"n":1}\n', '{"n":2}\n'],
        ["{}", '{\n  "n": 1\n}'],
        ["{\n}\n", '{\n  "n": 1\n}\n'],
      ];
      for (const [before, after] of kept) {
        fs.writeFileSync(file, before);
        await update<{ n?: number }>(file, (value) => ({ n: (value!.n ?? 0) + 1 }));
        assertEquals(text(file), after);
      }
      await update(file, (value) => [value], { indent: 0 });
      assertEquals(text(file), '[{"n":1}]\n');
    }));

  test(`${readName} reads a long run of white space`, () =>
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

  test(`${updateName} takes a long run of blanks for no indentation`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      // Each of the numbers would get a line that begins with it: a hundred gigabytes.
      fs.writeFileSync(file, `[\n${" ".repeat(1_000_000)}${"1,".repeat(100_000)}1]`);
      await update<number[]>(file, (value) => value!.with(0, 2));
      assertStrictEquals(text(file), `[\n  2,\n${"  1,\n".repeat(99_999)}  1\n]`);
    }));

  test(`${updateName} does not write what has not changed`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (const content of ['{\n  "a": 1\n}\n', '{ "a" : [ 1,2 ],"big":9007199254740993 }']) {
        fs.writeFileSync(file, content);
        const calls = await recorded(() => update(file, (value) => structuredClone(value)));
        assert(!calls.some(({ name }) => name === "rename"));
        assertEquals(text(file), content);
      }
    }));

  test(`${updateName} does not write a number that is too large, when it has not changed`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const content = '{"limits":[1e999,-1e999,null,"Infinity"]}';
      fs.writeFileSync(file, content);
      const calls = await recorded(() => update(file, (value) => structuredClone(value)));
      assert(!calls.some(({ name }) => name === "rename"));
      assertEquals(text(file), content);
    }));

  test(`${updateName} replaces a number that is too large by null, or its name`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (const limit of [null, "Infinity"]) {
        fs.writeFileSync(file, '{"limit":1e999}');
        await update<{ limit: unknown }>(file, (value) => ({ ...value, limit }));
        assertEquals(await read(file), { limit });
      }
    }));

  test(`${updateName} refuses to write a number that is too large beside what has changed`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const content = '{"limit":1e999}';
      fs.writeFileSync(file, content);
      const add = (value: object | undefined) => ({ ...value, theme: "dark" });
      await assertRejects(() => update(file, add), TypeError, "Infinity at 'limit'");
      assertEquals(text(file), content);
    }));

  test(`${updateName} creates what is not there`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "new", "file");
      await update<number>(file, (value) => {
        assertStrictEquals(value, undefined);
        return 1;
      });
      assertEquals(text(file), "1\n");
    }));

  test(`${updateName} sees the change that was made in place`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await write(file, { n: 1 });
      await update<{ n: number }>(file, (value) => {
        value!.n++;
        return value!;
      });
      assertEquals(await read(file), { n: 2 });
    }));

  test(`${updateName} changes nothing when the function throws`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "1");
      const reason = new Error("mine");
      const error = await assertRejects(() =>
        update(file, () => {
          throw reason;
        })
      );
      assertStrictEquals(error, reason);
      assertEquals([text(file), list(dir)], ["1", ["file"]]);
      DirLock.tryAcquireSync(dir)!.release();
    }));

  test(`${updateName} hands on the options of atomicUpdate${suffix}()`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      using lock = DirLock.acquireSync(dir);
      await update(file, () => 1, { lock, durability: "none", mode: 0o600 });
      assert(!lock.released);
      if (!isWindows) assertEquals(fs.statSync(file).mode & 0o777, 0o600);
      const createNew = await assertRejects(() => write(file, 2, { createNew: true }), Error);
      assertEquals((createNew as Error & { code?: string }).code, "EEXIST");
      assertEquals(text(file), "1\n");
    }));

  test(`${readName} and ${updateName} keep the key __proto__ a key`, () =>
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

  test(`${readName} rounds integers beyond 2^53, as JSON.parse() does`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "[9007199254740991,9007199254740993,1e400]");
      assertEquals(await read(file), [2 ** 53 - 1, 2 ** 53, Infinity]);
    }));

  test(`${writeName} and ${updateName} refuse what JSON cannot hold`, () =>
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
        [undefined, "undefined"],
        [() => {}, "a function"],
        [Symbol("x"), "a symbol"],
        [1n, "a bigint"],
        [NaN, "NaN"],
        [{ a: [-Infinity] }, "-Infinity at '0'"],
        [[new Number(NaN)], "NaN at '0'"],
        [{ a: Object(Infinity) }, "Infinity at 'a'"],
        [Object(1n), "a bigint"],
        [{ a: { b: () => {} } }, "a function at 'b'"],
        [[1, undefined], "undefined at '1'"],
        // deno-lint-ignore no-sparse-arrays
        [[, 1], "undefined at '0'"],
        [new Map([[1, 2]]), "a Map"],
        [{ all: new Set([1]) }, "a Set at 'all'"],
        [{ later: Promise.resolve(1) }, "a Promise at 'later'"],
        [new Private(), "a Private"],
        [{ toJSON: () => undefined }, "undefined"],
        [{ at: new Date(NaN) }, "an invalid Date at 'at'"],
        [cycle, ""],
      ];
      for (const [value, message] of refused) {
        await assertRejects(() => write(file, value), TypeError, message);
        await assertRejects(() => update(file, () => value), TypeError, message);
        assertEquals([text(file), list(dir)], ["1", ["file"]]);
      }
    }));

  test(`${writeName} takes what JSON can hold`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      class Point {
        constructor(readonly x: number) {}
      }
      const value = {
        date: new Date(0),
        left: undefined,
        point: new Point(1),
        bare: Object.assign(Object.create(null), { a: 1 }),
        empty: [{}, [], Object.create(null)],
        boxed: [new Number(1), new String(""), new Boolean(false)],
        other: runInNewContext("({ a: [1], b: {} })"),
        half: "\ud800",
        url: new URL("https://example.com/"),
      };
      await write(file, value, { indent: 0 });
      assertEquals(
        text(file),
        '{"date":"1970-01-01T00:00:00.000Z","point":{"x":1},"bare":{"a":1},"empty":[{},[],{}],' +
          '"boxed":[1,"",false],"other":{"a":[1],"b":{}},"half":"\\ud800","url":"https://example.com/"}\n',
      );
    }));

  test(`${readName} hands on what the check returns`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const check = (value: unknown, ...more: unknown[]) => {
        assertEquals([typeof value, more], ["string", []]);
        return new Date(value as string);
      };
      assertStrictEquals(await read(file, { check }), undefined);
      fs.writeFileSync(file, '"2026-01-02T00:00:00.000Z"');
      assertEquals((await read(file, { check }))!.getUTCFullYear(), 2026);
      // What is written is checked as it will be read: a string, not a Date.
      await update(file, (date) => new Date(date!.getTime() + 86_400_000), { check });
      assertEquals(text(file), '"2026-01-03T00:00:00.000Z"');
    }));

  test(`A check that refuses what ${readName} finds leaves the file alone`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, '"eighty"');
      const refusal = new RangeError("A port must be a number");
      const check = (value: unknown): number => {
        if (typeof value !== "number") throw refusal;
        return value;
      };
      for (const act of [() => read(file, { check }), () => update(file, () => 80, { check })]) {
        const error = await assertRejects(act, JsonFileError, "A port must be a number");
        assertStrictEquals(error.cause, refusal);
        assertEquals([error.path, error.line, error.column], [file, undefined, undefined]);
        assertEquals([text(file), list(dir)], ['"eighty"', ["file"]]);
      }
    }));

  test(`A check that refuses what ${writeName} or ${updateName} is to write keeps it out`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const refusal = new RangeError("A port must be a number");
      const check = (value: unknown) => {
        if (typeof value !== "number") throw refusal;
        return value;
      };
      const bad = () => "eighty" as unknown as number;
      await assertRejects(() => write(file, bad(), { check }), RangeError, refusal.message);
      await assertRejects(() => update(file, bad, { check }), RangeError, refusal.message);
      assertEquals(list(dir), []);
      await write(file, 80, { check });
      const error = await assertRejects(() => update(file, bad, { check }));
      assertStrictEquals(error, refusal);
      assertEquals(text(file), "80\n");
    }));

  test(`A check of ${readName} must not work later`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "1");
      const check = () => Promise.reject(new Error("seen too late"));
      await assertRejects(() => read(file, { check }), TypeError, "promise");
      await assertRejects(() => write(file, 2, { check }), TypeError, "promise");
      assertEquals(text(file), "1");
    }));

  test(`${readName}, ${writeName} and ${updateName} refuse options that they do not know`, () =>
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
    `${updateName} leaves the old file when the disk is full`,
    () =>
      inTempDir(async (dir) => {
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", dir]);
        try {
          const file = path.join(dir, "file");
          await write(file, { n: 1 });
          const error = await assertRejects(
            () => update(file, () => ({ n: "x".repeat(300_000) })),
            Error,
          );
          assertEquals((error as Error & { code?: string }).code, "ENOSPC");
          assertEquals([await read(file), list(dir)], [{ n: 1 }, ["file"]]);
        } finally {
          execFileSync("umount", [dir]);
        }
      }),
    { skip: noMounts() },
  );

  test(
    `${updateName} leaves a whole file when it is killed at any moment`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        let last = 0;
        for (let i = 0; i < 8; i++) {
          const child = new Child("updateJson", [file, suffix === "" ? "async" : "sync"]);
          await child.says("updating");
          await new Promise((resolve) => setTimeout(resolve, 5 + 7 * i));
          await child.kill();
          const value = (await read<{ n: number; copies: number[] }>(file))!;
          assertEquals(value.copies, new Array(2_000).fill(value.n));
          assert(value.n > last, "It made no progress");
          last = value.n;
        }
      }),
    { skip: isWindows && "a kill is another thing on Windows" },
  );
}

test(
  "updateJson() changes a file of 200 MB, and finds a fault at its end",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const value: string[] = Array.from({ length: 2_000 }, (_, i) => String(i).padEnd(100_000));
      await writeJson(file, value, { indent: 0, durability: "none" });
      const size = fs.statSync(file).size;
      assert(size > 200_000_000);
      await updateJson<string[]>(file, (all) => all!.with(-1, "last"), { durability: "none" });
      const changed = (await readJson<string[]>(file))!;
      const facts = [changed.length, changed[1_998]!.trim(), changed.at(-1)];
      assertEquals(facts, [2_000, "1998", "last"]);
      fs.truncateSync(file, 150_000_000);
      const error = await assertRejects(
        () => readJson(file),
        JsonFileError,
        "the string does not end",
      );
      assertEquals(error.column, 150_000_001);
    }),
  { skip: !isDeno && "takes long; what it asks of an engine is the same on all" },
);

test("updateJson() and updateJsonSync() of several processes lose no update", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const children = ["async", "sync", "async", "sync"].map((form) =>
      new Child("countJson", [file, form, 25])
    );
    assertEquals(await Promise.all(children.map((child) => child.exit())), [0, 0, 0, 0]);
    assertEquals([text(file), list(dir)], ['{\n  "n": 100\n}\n', ["file"]]);
  }));

test("updateJson() takes a function that works later, updateJsonSync() does not", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await updateJson(file, () => Promise.resolve(1));
    // Its failure ends the test if it goes unheard.
    const late = () => Promise.reject(new Error("heard by nobody"));
    assertThrows(() => updateJsonSync<unknown>(file, late), TypeError, "a Promise");
    assertEquals(text(file), "1\n");
  }));

test("updateJson() gives up when aborted", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    using _held = await DirLock.acquire(dir);
    const signal = AbortSignal.abort(new Error("enough"));
    await assertRejects(() => updateJson(file, () => 1, { signal }), Error, "enough");
    assertEquals(list(dir), []);
  }));

test("JsonFileError tells no more than it knows of what the engine alone refuses", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "[".repeat(1_000_000) + "]".repeat(1_000_000));
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

test("findError() finds an error where JSON.parse() does, and only there", () => {
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
    // What comes before is the beginning of some JSON.
    if (error === undefined) continue;
    const before = findError(text.slice(0, error.offset));
    assertEquals(before?.offset ?? error.offset, error.offset, text);
  }
  assert(invalid > 5_000 && invalid < 20_000);
});

/** Why no file system can be mounted, if so. */
function noMounts(): string | false {
  if (process.platform !== "linux" || !isRoot) return "needs root on Linux, to mount a small disk";
  return spawnSync("mount", ["--version"]).status !== 0 && "there is no mount(8)";
}
