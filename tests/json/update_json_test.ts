import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { JsonFileError, updateJson, updateJsonSync, writeJson } from "../../json.ts";
import { DirLock } from "../../lock.ts";
import { Child } from "../support/child.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { CORRUPT, forms } from "../support/json_forms.ts";
import { recorded } from "../support/runtime.ts";
import { isRoot, isWindows, test } from "../support/test.ts";

for (const { suffix, read, write, update, readName, updateName } of forms) {
  test(`${updateName} neither overwrites a corrupt file nor calls its function`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (const [content] of CORRUPT) {
        fs.writeFileSync(file, content);
        let called = false;
        await assertRejects(() => update(file, () => called = true), JsonFileError);
        assertEquals([text(file), called, list(dir)], [content, false, ["file"]]);
      }
    }));

  test(`${readName} skips a byte order mark, and ${updateName} keeps it`, () =>
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

  test(`${updateName} preserves indentation and line breaks`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const kept: [before: string, after: string][] = [
        ['{\n    "n": 1\n}\n', '{\n    "n": 2\n}\n'],
        ['{\n    "n": 1\n}', '{\n    "n": 2\n}'],
        ['{\n\t"n": 1\n}\n', '{\n\t"n": 2\n}\n'],
        ['{\r\n  "n": 1\r\n}\r\n', '{\r\n  "n": 2\r\n}\r\n'],
        [`{\n${" ".repeat(10)}"n": 1\n}\n`, `{\n${" ".repeat(10)}"n": 2\n}\n`],
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

  test(`${updateName} does not treat a long run of white space as indentation`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      // If this white space were used as indentation, each number would take up a line of 1 MB, 100
      // GB in total.
      fs.writeFileSync(file, `[\n${" ".repeat(1_000_000)}${"1,".repeat(100_000)}1]`);
      await update<number[]>(file, (value) => value!.with(0, 2));
      assertStrictEquals(text(file), `[\n  2,\n${"  1,\n".repeat(99_999)}  1\n]`);
    }));

  test(`${updateName} does not write when the value is unchanged`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (const content of ['{\n  "a": 1\n}\n', '{ "a" : [ 1,2 ],"big":9007199254740993 }']) {
        fs.writeFileSync(file, content);
        const calls = await recorded(() => update(file, (value) => structuredClone(value)));
        assert(!calls.some(({ name }) => name === "rename"));
        assertEquals(text(file), content);
      }
    }));

  test(`${updateName} writes an unchanged value when a mode or durability "durable" is requested`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (const options of [{ mode: 0o600 }, { durability: "durable" }] as const) {
        fs.writeFileSync(file, "{}", { mode: 0o644 });
        const calls = await recorded(() => update(file, (value) => value, options));
        assert(calls.some(({ name }) => name === "rename"));
        assertEquals(text(file), "{}");
        if (options.mode && !isWindows) assertEquals(fs.statSync(file).mode & 0o777, options.mode);
      }
    }));

  test(`${updateName} writes a value that differs only in the order of keys or the sign of 0`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (
        const [content, next, wanted] of [
          ['{"a":1,"b":2}', { b: 2, a: 1 }, '{"b":2,"a":1}'],
          ["[-0]", [0], "[0]"],
          ["[-0.0e1]", [-0], "[0]"],
        ] as const
      ) {
        fs.writeFileSync(file, content);
        const returned = await update<unknown>(file, () => next);
        assertEquals(text(file), wanted);
        assertEquals(returned, await read(file));
      }
    }));

  test(`${updateName} rejects Infinity, as parsed from 1e999`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const content = '{"limit":1e999,"other":null}';
      fs.writeFileSync(file, content);
      await assertRejects(() => update(file, (value) => value), TypeError, "Infinity at 'limit'");
      const add = (value: object | undefined) => ({ ...value, theme: "dark" });
      await assertRejects(
        () => update(file, add),
        TypeError,
        "Infinity at 'limit' would become null",
      );
      assertEquals(text(file), content);
    }));

  test(`${updateName} writes the value when its function replaces Infinity`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (const limit of [null, "Infinity"]) {
        fs.writeFileSync(file, '{"limit":1e999}');
        await update<{ limit: unknown }>(file, (value) => ({ ...value, limit }));
        assertEquals(await read(file), { limit });
      }
    }));

  test(`${updateName} returns what ${readName} would return`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const next = { at: new Date(0), left: undefined };
      assertEquals<unknown>(await update<object>(file, () => next), {
        at: "1970-01-01T00:00:00.000Z",
      });
      assertEquals(await update<object>(file, (value) => value!), await read(file));
      // The result is never an object that other code may also reference.
      const same = await read<object>(file);
      assert(await update<object>(file, () => same!) !== same);
      const withDate = (value?: { at: unknown }) => Object.assign(value!, { at: new Date(0) });
      assertEquals<unknown>(await update<{ at: unknown }>(file, withDate), same);
      const withLeft = (value?: object) => Object.assign(value!, { left: undefined });
      assertEquals(await update<object>(file, withLeft), same);
      const check = (value: unknown) =>
        new Date(typeof value === "string" ? value : (value as { at: string }).at);
      const date = await update<Date>(file, (value) => value!, { check });
      assertEquals([date.getTime(), text(file)], [0, '"1970-01-01T00:00:00.000Z"\n']);
    }));

  test(`${updateName} never returns an object that the caller put into the value`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await write(file, ["a"]);
      const draft = { name: "b" };
      const saved = await update<unknown[]>(file, (list) => {
        list!.push(draft);
        return list!;
      });
      draft.name = "later";
      assertEquals(saved, ["a", { name: "b" }]);
      // The same applies if the file already contains an equal value.
      const equal = { name: "b" };
      const same = await update<unknown[]>(file, (list) => {
        list![1] = equal;
        return list!;
      });
      equal.name = "later";
      assertEquals(same, ["a", { name: "b" }]);
    }));

  test(`${updateName} calls its function again when another writer changes the file`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "[1]");
      let calls = 0;
      const value = await update<number[]>(file, (value) => {
        if (++calls === 1) fs.writeFileSync(file, "[2]");
        return [...value!, 3];
      });
      assertEquals([calls, value, text(file)], [2, [2, 3], "[2,3]"]);
    }));

  test(`${updateName} reports a missing return when its function returns undefined`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await assertRejects(() => update(file, () => {}), TypeError, "missing 'return'?");
      assertEquals(list(dir), []);
    }));

  test(`${updateName} creates a missing file and its directory`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "new", "file");
      await update<number>(file, (value) => {
        assertStrictEquals(value, undefined);
        return 1;
      });
      assertEquals(text(file), "1\n");
    }));

  test(`${updateName} detects an in-place modification`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await write(file, { n: 1 });
      await update<{ n: number }>(file, (value) => {
        value!.n++;
        return value!;
      });
      assertEquals(await read(file), { n: 2 });
    }));

  test(`${updateName} changes nothing when its function throws`, () =>
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

  test(`${updateName} throws a frozen error of the library as it is`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const frozen = Object.freeze(new JsonFileError(file, "no reason", { cause: undefined }));
      const fail = () => {
        throw frozen;
      };
      assertStrictEquals(await assertRejects(() => update(file, fail)), frozen);
      assertStrictEquals(await assertRejects(() => update(file, () => 1, { check: fail })), frozen);
    }));

  test(`${updateName} passes its options on to atomicUpdate${suffix}()`, () =>
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

  test(
    `${updateName} keeps the old file when the disk is full`,
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
    `${updateName} leaves a complete file when its process is killed at any moment`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        let last = 0;
        for (let i = 0; i < 3; i++) {
          const child = new Child("updateJson", [file, suffix === "" ? "async" : "sync"]);
          await child.says("updating");
          await new Promise((resolve) => setTimeout(resolve, 5 + 17 * i));
          await child.kill();
          const value = (await read<{ n: number; copies: number[] }>(file))!;
          assertEquals(value.copies, new Array(2_000).fill(value.n));
          assert(value.n > last, "It made no progress");
          last = value.n;
        }
      }),
    { skip: isWindows && "Windows has no SIGKILL" },
  );
}

test("updateJson() and updateJsonSync() in several processes lose no updates", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const children = ["async", "sync", "async", "sync"].map((form) =>
      new Child("countJson", [file, form, 25])
    );
    assertEquals(await Promise.all(children.map((child) => child.exit())), [0, 0, 0, 0]);
    assertEquals([text(file), list(dir)], ['{\n  "n": 100\n}\n', ["file"]]);
  }));

test("updateJson() accepts a function that returns a promise; other uses of promises are refused", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await updateJson(file, () => Promise.resolve(1));
    // An unhandled rejection would fail the test.
    const late = () => Promise.reject(new Error("unhandled"));
    assertThrows(() => updateJsonSync<unknown>(file, late), TypeError, "a Promise");
    assertThrows(() => updateJsonSync<unknown>(file, () => [late()]), TypeError, "a Promise");
    const cancelable = () => Object.assign(late(), { cancel() {} });
    assertThrows(() => updateJsonSync<unknown>(file, cancelable), TypeError, "a function");
    await assertRejects(() => writeJson(file, late()), TypeError, "a Promise");
    assertEquals(text(file), "1\n");
  }));

test("updateJson() stops waiting for the lock when aborted", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    using _held = await DirLock.acquire(dir);
    const signal = AbortSignal.abort(new Error("enough"));
    await assertRejects(() => updateJson(file, () => 1, { signal }), Error, "enough");
    assertEquals(list(dir), []);
  }));

/** Returns why this process cannot mount a file system, or false if it can. */
function noMounts(): string | false {
  if (process.platform !== "linux" || !isRoot) {
    return "requires root on Linux, to mount a small disk";
  }
  return spawnSync("mount", ["--version"]).status !== 0 && "mount(8) is not installed";
}
