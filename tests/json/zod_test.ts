/** A zod schema's `parse` method as the `check` option of the JSON functions. */
import { assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { z, ZodError } from "zod";
import { JsonFileError, readJson, readJsonSync, updateJson } from "../../json.ts";
import { inTempDir, text } from "../support/dir.ts";
import { test } from "../support/test.ts";

const Settings = z.object({
  theme: z.enum(["light", "dark"]).default("light"),
  runs: z.number().int().default(0),
});
const check = Settings.parse;

test("readJson() returns the result of a schema's parse(), with its type", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    assertStrictEquals(await readJson(file, { check }), undefined);
    fs.writeFileSync(file, '{"runs":2}');
    const settings: z.infer<typeof Settings> | undefined = await readJson(file, { check });
    assertEquals(settings, { theme: "light", runs: 2 });
    assertEquals(readJsonSync(file, { check }), settings);
  }));

test("readJson() names the file when a schema's parse() rejects its value", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, '{"theme":"pink"}');
    const error = await assertRejects(() => readJson(file, { check }), JsonFileError, file);
    assertInstanceOf(error.cause, ZodError);
  }));

test("updateJson() passes the result of a schema's parse() to its function", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "{}\n");
    await updateJson(file, (settings) => ({ ...settings!, runs: settings!.runs + 1 }), { check });
    assertEquals(JSON.parse(text(file)), { theme: "light", runs: 1 });
  }));

test("updateJson() does not write when a schema's parse() rejects the new value", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, '{"runs":1}');
    const wrong = () => ({ theme: "light" as const, runs: 1.5 });
    await assertRejects(() => updateJson(file, wrong, { check }), ZodError);
    assertEquals(text(file), '{"runs":1}');
  }));
