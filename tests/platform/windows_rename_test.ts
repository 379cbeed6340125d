/** Renames and removals that Windows temporarily refuses, simulated on every OS. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { atomicWrite, atomicWriteSync } from "../../mod.ts";
import { runtime, useRuntime } from "../../runtime/mod.ts";
import type { Runtime } from "../../runtime/types.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { onPlatform } from "../support/fake.ts";
import { systemError } from "../support/runtime.ts";
import { test } from "../support/test.ts";

/**
 * Calls `fn` on simulated Windows, which refuses renames while `isOpen` returns true; returns the
 * number of attempts.
 */
async function whileOpen(
  isOpen: (tries: number) => boolean,
  fn: () => unknown,
  changes: Partial<Runtime> = {},
): Promise<number> {
  const real = runtime;
  let tries = 0;
  const refused = () => {
    if (isOpen(++tries)) throw systemError("EPERM");
  };
  useRuntime({
    ...real,
    ...changes,
    windows: true,
    async: {
      ...real.async,
      rename: async (from, to) => (refused(), await real.async.rename(from, to)),
    },
    sync: { ...real.sync, rename: (from, to) => (refused(), real.sync.rename(from, to)) },
  });
  try {
    await fn();
  } finally {
    useRuntime(real);
  }
  return tries;
}

test("atomicWrite() retries its rename on Windows until no reader has the file open", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    assertEquals(await whileOpen((tries) => tries < 40, () => atomicWrite(file, "new")), 40);
    assertEquals([text(file), list(dir)], ["new", ["file"]]);
  }));

test("atomicWriteSync() retries its rename for 8 s on Windows, with pauses of at most 8 ms", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    const { now } = performance;
    const began = now.call(performance);
    let slept = 0;
    performance.now = () => began + slept;
    const sleep = (time: number) => {
      assert(time >= 0 && time <= 8, `${time} ms`);
      slept += time;
    };
    try {
      const error = await assertRejects(
        () => whileOpen(() => true, () => atomicWriteSync(file, "new"), { sleep }),
        Error,
        "EPERM",
      );
      assertEquals((error as { step?: unknown }).step, "rename");
    } finally {
      performance.now = now;
    }
    assert(slept >= 8_000 && slept < 8_100, `${slept} ms`);
    assertEquals([text(file), list(dir)], ["old", ["file"]]);
  }));

test("atomicWrite() rejects with the signal's reason while it retries its rename on Windows", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const controller = new AbortController();
    const isOpen = (tries: number) => {
      if (tries === 5) controller.abort(new Error("enough"));
      return true;
    };
    const write = () => atomicWrite(file, "new", { signal: controller.signal });
    await assertRejects(() => whileOpen(isOpen, write), Error, "enough");
    assertEquals(list(dir), []);
  }));

test("atomicWrite() does not retry its rename on Windows when the target is read-only", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old", { mode: 0o444 });
    let tries = 0;
    await assertRejects(
      () => whileOpen((count) => (tries = count) > 0, () => atomicWrite(file, "new")),
      Error,
      "EPERM",
    );
    assertEquals([tries, text(file), list(dir)], [1, "old", ["file"]]);
  }));

/** Simulates Windows, refusing every rename and the first `refusals` removals. */
function removeRefused(real: Runtime, refusals: number): Partial<Runtime> {
  const rename = () => {
    throw systemError("EIO");
  };
  const refused = () => {
    if (refusals-- > 0) throw systemError("EBUSY");
  };
  const remove = (file: string) => (refused(), real.sync.remove(file));
  return {
    windows: true,
    async: { ...real.async, rename, remove: async (file) => await remove(file) },
    sync: { ...real.sync, rename, remove },
  };
}

test("A failed atomicWrite() removes its temporary file once a Windows scanner has closed it", () =>
  inTempDir(async (dir) => {
    await onPlatform(
      (real) => removeRefused(real, 5),
      () => assertRejects(() => atomicWrite(path.join(dir, "file"), "new"), Error, "EIO"),
    );
    assertEquals(list(dir), []);
  }));

test("A failed atomicWriteSync() retries the removal of its temporary file for 1 s on Windows", () =>
  inTempDir(async (dir) => {
    const { now } = performance;
    const began = now.call(performance);
    let slept = 0;
    performance.now = () => began + slept;
    const sleep = (time: number) => void (slept += time);
    try {
      await onPlatform(
        (real) => ({ ...removeRefused(real, Infinity), sleep }),
        () => assertThrows(() => atomicWriteSync(path.join(dir, "file"), "new"), Error, "EIO"),
      );
    } finally {
      performance.now = now;
    }
    assert(slept >= 1_000 && slept < 1_100, `${slept} ms`);
  }));

for (const createNew of [false, true]) {
  const title = `atomicWriteSync() takes over ${createNew ? "a createNew" : "a write"}`;
  test(`${title} while a Windows scanner has its file open`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      let refusals = 5;
      const refused = () => {
        if (refusals-- > 0) throw systemError("EBUSY");
      };
      let publishes = () => {};
      const publishing = new Promise<void>((resolve) => publishes = resolve);
      let fail = (_: Error) => {};
      const inPool = new Promise<never>((_, reject) => fail = reject);
      const publish = () => (publishes(), inPool);
      await onPlatform((real) => ({
        windows: true,
        async: { ...real.async, rename: publish, link: publish },
        sync: {
          ...real.sync,
          rename: (from, to) => (refused(), real.sync.rename(from, to)),
          remove: (path) => (refused(), real.sync.remove(path)),
        },
      }), async () => {
        const first = atomicWrite(file, "first", { createNew });
        await publishing;
        atomicWriteSync(file, "second");
        fail(systemError("ENOENT"));
        await first;
      });
      assertEquals([text(file), list(dir)], ["second", ["file"]]);
    }));
}

test("atomicWrite() replaces a file that it wrote with mode 0444", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (const data of ["first", "second"]) await atomicWrite(file, data, { mode: 0o444 });
    atomicWriteSync(file, "third", { mode: 0o444 });
    assertEquals(text(file), "third");
  }));
