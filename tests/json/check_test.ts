import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { JsonFileError } from "../../json.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { forms } from "../support/json_forms.ts";
import { test } from "../support/test.ts";

for (const { read, write, update, readName, writeName, updateName } of forms) {
  test(`${readName} returns what its check returns`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const check = (value: unknown, ...more: unknown[]) => {
        assertEquals([typeof value, more], ["string", []]);
        return new Date(value as string);
      };
      assertStrictEquals(await read(file, { check }), undefined);
      fs.writeFileSync(file, '"2026-01-02T00:00:00.000Z"');
      assertEquals((await read(file, { check }))!.getUTCFullYear(), 2026);
      // The check receives the value as it will be read back: a string, not a Date.
      await update(file, (date) => new Date(date!.getTime() + 86_400_000), { check });
      assertEquals(text(file), '"2026-01-03T00:00:00.000Z"');
    }));

  test(`${readName} and ${updateName} leave the file alone when the check rejects the file's value`, () =>
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

  test(`${writeName} and ${updateName} do not write when the check rejects the new value`, () =>
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

  test(`${readName} and ${writeName} reject a check that returns a promise`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "1");
      const check = () => Promise.reject(new Error("seen too late"));
      await assertRejects(() => read(file, { check }), TypeError, "promise");
      await assertRejects(() => write(file, 2, { check }), TypeError, "promise");
      assertEquals(text(file), "1");
    }));
}
