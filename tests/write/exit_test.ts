/** A program that exits during a write leaves no temporary file unless it is killed. */
import { assert, assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { inTempDir, list } from "../support/dir.ts";
import { isDeno, test } from "../support/test.ts";
import { writer } from "../support/write_worker.ts";

const jobs = [
  ["endWithAtomicFile", "an open AtomicFile"],
  ["endWithStream", "an unfinished stream write"],
  ["endWithBytes", "an unfinished write of bytes"],
] as const;
for (const [job, what] of jobs) {
  test(`process.exit() leaves no temporary file of ${what}`, () =>
    inTempDir(async (dir) => {
      const child = writer(job, [dir, "exit"]);
      await child.says("1");
      assertEquals([await child.exit(), list(dir)], [0, []]);
    }));

  test(`an uncaught error leaves no temporary file of ${what}`, () =>
    inTempDir(async (dir) => {
      const child = writer(job, [dir, "throw"]);
      await child.says("1");
      const code = await child.exit();
      assert(typeof code === "number" && code !== 0, `${code}`);
      // A write of bytes may be complete before the error is thrown.
      assertEquals(list(dir).filter((name) => name !== "file"), []);
    }), { skip: isDeno && "Deno emits no event for an uncaught error" });
}

for (const [job, what] of jobs.slice(0, 2)) {
  test(`a program that ends normally leaves no temporary file of ${what}`, () =>
    inTempDir(async (dir) => {
      const child = writer(job, [dir, "end"]);
      await child.says("1");
      assertEquals([await child.exit(), list(dir)], [0, []]);
    }));
}

test("process.exit() does not remove the temporary files of other programs", () =>
  inTempDir(async (dir) => {
    const others = [".file.0123456789abcdef.tmp", ".file.0123456789abcdef.kept"];
    for (const name of others) fs.writeFileSync(path.join(dir, name), "theirs");
    const child = writer("endWithAtomicFile", [dir, "exit"]);
    await child.says("2");
    assertEquals([await child.exit(), list(dir)], [0, others.sort()]);
  }));

test(
  "the first write adds one exit listener; later writes add none",
  () =>
    inTempDir(async (dir) => {
      const child = writer("exitListeners", [dir]);
      await child.says("0 1 1 1");
      assertEquals(await child.exit(), 0);
    }),
  { skip: isDeno && "Deno emits 'unload' instead" },
);

test("atomicWrite() prints no warning when many waiting calls share one signal", () =>
  inTempDir(async (dir) => {
    const child = writer("manyOnOneSignal", [dir]);
    await child.says("warnings: ");
    assertEquals(await child.exit(), 0);
  }));
