import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { DirLock } from "../../mod.ts";
import { inTempDir } from "../support/dir.ts";
// The import only ensures that the file is compiled; the file defines no tests in this process.
import "../support/hanging_tests.ts";
import { isBun, isDeno, test } from "../support/test.ts";

test("test() fails a test that hangs, kills its children and runs the next one", () =>
  inTempDir((dir) => {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const file = fileURLToPath(new URL(`../support/hanging_tests.${extension}`, import.meta.url));
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const { status, stdout, stderr } = spawnSync(process.execPath, [...runner(), file], {
      env: { ...env, APERTURE_HANGING: dir, NO_COLOR: "1" },
      timeout: 50_000,
      encoding: "utf8",
    });
    const output = stdout + stderr;
    assertEquals(status, 1, output);
    assert(/\b1 passed|pass 1\b|\b1 pass\b/.test(output), output);
    assert(/\b2 failed|fail 2\b|\b2 fail\b/.test(output), output);
    assert(/The test did not end within \d+ s/.test(output), output);
    assert(output.includes("The child ended with 70 instead of a line"), output);
    const lock = DirLock.tryAcquireSync(path.resolve(dir));
    assert(lock !== null, "the child of the test that hung still holds the lock");
    lock!.release();
  }));

/** Returns the arguments that make this runtime run a test file. */
function runner(): string[] {
  if (isBun) return ["test"];
  if (!isDeno) return ["--test"];
  const imports = JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]");
  return ["test", "-A", "--no-check", ...imports];
}
