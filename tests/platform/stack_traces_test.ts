/** The library in programs that set `Error.prepareStackTrace`. */
import { assert, assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { AtomicFile, atomicUpdate, atomicWrite, atomicWriteSync, DirLock } from "../../mod.ts";
import { stackFiles } from "../../runtime/shared/stack_files.ts";
import { inTempDir } from "../support/dir.ts";
import { isBun, test } from "../support/test.ts";

const traces = Error as { prepareStackTrace?: unknown; stackTraceLimit?: number };

/** Calls `fn` while `Error.prepareStackTrace` is set to `prepare`. */
async function withStackTraces(prepare: unknown, fn: () => unknown): Promise<void> {
  const before = traces.prepareStackTrace;
  traces.prepareStackTrace = prepare;
  try {
    await fn();
  } finally {
    traces.prepareStackTrace = before;
  }
}

const callSites = (_: unknown, sites: unknown) => sites;

test("errors keep their code and context when Error.prepareStackTrace returns call sites", () =>
  inTempDir((dir) =>
    withStackTraces(callSites, async () => {
      const file = path.join(dir, "missing", "file");
      const calls = [
        () => atomicWrite(file, "x"),
        () => AtomicFile.open(file),
        () => atomicWriteSync(file, "x"),
        () => DirLock.acquireSync(path.join(dir, "file", "below")),
        () => atomicUpdate(path.join(dir, "file", "below"), () => "x"),
      ];
      fs.writeFileSync(path.join(dir, "file"), "");
      for (const call of calls) {
        const error = await Promise.resolve().then(call).then(() => undefined, (error) => error);
        assert(["ENOENT", "ENOTDIR"].includes(error?.code), String(error));
        assert(error.message.includes(dir), error.message);
      }
    })
  ));

test("stackFiles() finds this file, and restores the program's settings", async () => {
  const limit = traces.stackTraceLimit;
  await withStackTraces(callSites, () => {
    const files = stackFiles();
    assert(files.some((name) => name.includes("stack_traces_test")), files.join());
    assertEquals([traces.prepareStackTrace, traces.stackTraceLimit], [callSites, limit]);
  });
}, { skip: isBun && "Bun's stack traces omit the frames of its test runner" });

test("stackFiles() is empty when Error.prepareStackTrace cannot be set", () => {
  const before = traces.prepareStackTrace;
  const format = () => "/etc";
  Object.defineProperty(Error, "prepareStackTrace", {
    configurable: true,
    get: () => format,
    set() {},
  });
  try {
    assertEquals(stackFiles(), []);
  } finally {
    const plain = { configurable: true, writable: true, value: undefined };
    Object.defineProperty(Error, "prepareStackTrace", plain);
    // Assign it as well: Bun runs all test files in one process and ignores a value set by
    // defineProperty().
    traces.prepareStackTrace = before;
  }
});
