/**
 * An abort immediately ends any wait within a write: for its turn, for a descriptor or for a slice.
 */
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as path from "node:path";
import { AtomicFile, atomicWrite, type AtomicWriteOptions } from "../../mod.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { test } from "../support/test.ts";
import { within } from "../support/within.ts";

/** Aborts a call `milliseconds` after it began and checks that it rejects with the reason. */
async function givesUp(
  controller: AbortController,
  call: Promise<unknown>,
  milliseconds: number,
): Promise<void> {
  // A reason with a code, like a system error's, must not be given context.
  const reason = Object.freeze(Object.assign(new Error("enough"), { code: "SHUTDOWN" }));
  const outcome = assertRejects(() => call);
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  controller.abort(reason);
  assertStrictEquals(await within(outcome, 2), reason);
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
    test(`${what} rejects immediately when aborted while it waits for a descriptor: ${code}`, () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        let tries = 0;
        const controller = new AbortController();
        await intercepted(({ name }) => {
          if (name !== "create") return;
          tries++;
          throw systemError(code);
        }, async () => {
          const call = wait(file, { signal: controller.signal });
          // Abort only after the pauses between attempts have become long.
          await givesUp(controller, call, 300);
        });
        assert(tries > 1);
        assertEquals(list(dir), []);
      }));
  }
}

type Begin = (file: string, signal: AbortSignal) => Promise<() => Promise<unknown>>;

/** Calls that are prepared in advance and made while an earlier write waits for a descriptor. */
const followers: [string, Begin][] = [
  [
    "a write that waits for an earlier write",
    (file, signal) => Promise.resolve(() => atomicWrite(file, "second", { signal, mode: 0o600 })),
  ],
  ["a commit that waits for an earlier write", async (file, signal) => {
    const draft = await AtomicFile.open(file, { signal });
    await draft.write("draft");
    return () => draft.commit();
  }],
];
for (const [what, begin] of followers) {
  test(`${what} rejects immediately when aborted`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      let none = false;
      const controller = new AbortController();
      await intercepted(({ name }) => {
        if (none && name === "create") throw systemError("EMFILE");
      }, async () => {
        const call = await begin(file, controller.signal);
        none = true;
        const first = atomicWrite(file, "first");
        await givesUp(controller, call(), 50);
        none = false;
        await first;
      });
      assertEquals([list(dir), text(file)], [["file"], "first"]);
    }));
}

test("atomicWrite() of large data rejects after its clean-up when aborted", () =>
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
