/** A signal ends every wait of a write at once: for its turn, for a descriptor, for a slice. */
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as path from "node:path";
import { AtomicFile, atomicWrite, type AtomicWriteOptions } from "../mod.ts";
import { inTempDir, list, text } from "./support/dir.ts";
import { intercepted, systemError } from "./support/runtime.ts";
import { test } from "./support/test.ts";

const LATE = Symbol("late");

/** What comes first: the end of a call, or too many milliseconds. */
async function within(milliseconds: number, call: Promise<unknown>): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise((resolve) => timer = setTimeout(resolve, milliseconds, LATE));
  return await Promise.race([call, late]).finally(() => clearTimeout(timer));
}

const waits: [string, (file: string, options: AtomicWriteOptions) => Promise<unknown>][] = [
  ["atomicWrite()", (file, options) => atomicWrite(file, "x", options)],
  [
    'atomicWrite() with durability "none"',
    (file, options) => atomicWrite(file, "x", { ...options, durability: "none" }),
  ],
  ["atomicWrite() of a stream", (file, options) =>
    atomicWrite(
      file,
      (async function* () {
        yield "x";
      })(),
      options,
    )],
  ["AtomicFile.open()", (file, options) => AtomicFile.open(file, options)],
];
for (const [what, wait] of waits) {
  for (const code of ["EMFILE", "ENFILE"]) {
    test(`${what} is given up at once while there is no descriptor: ${code}`, () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        let none = true;
        let tries = 0;
        const controller = new AbortController();
        const reason = new Error("enough");
        await intercepted(({ name }) => {
          if (none && (name === "create" || name === "writeNew")) {
            tries++;
            throw systemError(code);
          }
        }, async () => {
          const outcome = wait(file, { signal: controller.signal }).catch((error) => error);
          // Until the pauses between the tries have become long.
          await new Promise((resolve) => setTimeout(resolve, 300));
          controller.abort(reason);
          const first = await within(2_000, outcome);
          none = false;
          await outcome;
          assertStrictEquals(first, reason);
        });
        assert(tries > 1);
        assertEquals(list(dir), []);
      }));
  }
}

test("a write that waits behind one without a descriptor is given up at once", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    let none = true;
    const controller = new AbortController();
    const reason = new Error("enough");
    await intercepted(({ name }) => {
      if (none && name === "create") throw systemError("EMFILE");
    }, async () => {
      const first = atomicWrite(file, "first");
      const second = atomicWrite(file, "second", { signal: controller.signal, mode: 0o600 });
      const outcome = second.catch((error) => error);
      await new Promise((resolve) => setTimeout(resolve, 50));
      controller.abort(reason);
      const ended = await within(2_000, outcome);
      none = false;
      await first;
      assertStrictEquals(ended, reason);
    });
    assertEquals([list(dir), text(file)], [["file"], "first"]);
  }));

test("a commit that waits for its turn is given up at once", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    let none = false;
    const controller = new AbortController();
    const reason = new Error("enough");
    await intercepted(({ name }) => {
      if (none && name === "create") throw systemError("EMFILE");
    }, async () => {
      const draft = await AtomicFile.open(file, { signal: controller.signal });
      await draft.write("draft");
      none = true;
      const first = atomicWrite(file, "first");
      const outcome = draft.commit().catch((error) => error);
      await new Promise((resolve) => setTimeout(resolve, 50));
      controller.abort(reason);
      const ended = await within(2_000, outcome);
      none = false;
      await first;
      assertStrictEquals(ended, reason);
    });
    assertEquals([list(dir), text(file)], [["file"], "first"]);
  }));

test("a large write that is aborted has cleaned up after itself when it rejects", () =>
  inTempDir(async (dir) => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const { signal } = controller;
    const written = atomicWrite(path.join(dir, "file"), new Uint8Array(300 << 20), { signal });
    const outcome = assertRejects(() => written);
    while (list(dir).length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    controller.abort(reason);
    assertStrictEquals(await outcome, reason);
    assertEquals(list(dir), []);
  }));
