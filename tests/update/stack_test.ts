import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import {
  readJson,
  readJsonSync,
  updateJson,
  updateJsonSync,
  writeJson,
  writeJsonSync,
} from "../../json.ts";
import { atomicUpdate, atomicUpdateSync, atomicWrite } from "../../mod.ts";
import { inTempDir } from "../support/dir.ts";
import { test } from "../support/test.ts";

/** Calls that fail on a corrupt JSON file or on its directory. */
const CALLS: Record<string, (file: string) => unknown> = {
  "readJson()": (file) => readJson(file),
  "readJsonSync()": (file) => readJsonSync(file),
  "writeJson()": (file) => writeJson(path.dirname(file), 1),
  "writeJsonSync()": (file) => writeJsonSync(path.dirname(file), 1),
  "updateJson()": (file) => updateJson(file, () => 1),
  "updateJsonSync()": (file) => updateJsonSync(file, () => 1),
  "atomicUpdate()": (file) => atomicUpdate(path.dirname(file), () => "x"),
  "atomicUpdateSync()": (file) => atomicUpdateSync(path.dirname(file), () => "x"),
  // @ts-expect-error A return is missing.
  "atomicUpdate() without a return": (file) => atomicUpdate(file, () => {}),
};

for (const [name, call] of Object.entries(CALLS)) {
  test(`${name} fails with the caller at the top of the stack`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "{");
      async function theCaller(): Promise<void> {
        await call(file);
      }
      const { stack = "" } = await assertRejects(theCaller, Error);
      // Deno 2.7 puts a frame of its event loop at the top of some stacks.
      const frames = stack.split("\n").filter((line: string) => /(?<!ext:.*):\d+:\d+/.test(line));
      assert(/theCaller|stack_test/.test(frames[0] ?? ""), stack);
    }));
}

test("atomicUpdate() does not change the stack of an error thrown by its function", () =>
  inTempDir(async (dir) => {
    let stack: string | undefined;
    async function theFunction(): Promise<string> {
      try {
        await atomicWrite(dir, "x");
      } catch (error) {
        stack = (error as Error).stack;
        throw error;
      }
      return "never";
    }
    const error = await assertRejects(
      () => atomicUpdate(path.join(dir, "file"), theFunction),
      Error,
    );
    assertEquals(error.stack, stack);
    assert(stack!.includes("theFunction"), stack);
  }));
