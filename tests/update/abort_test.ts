import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { atomicUpdate, DirLock } from "../../mod.ts";
import { assertBlocks } from "../support/blocks.ts";
import { inTempDir, list, text, unchanged } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { test } from "../support/test.ts";
import { within } from "../support/within.ts";

const decode = (bytes: Uint8Array | null) => bytes && new TextDecoder().decode(bytes);

test("atomicUpdate() stops waiting for the lock when aborted", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const controller = new AbortController();
    const { signal } = controller;
    const update = atomicUpdate(path.join(dir, "file"), () => "x", { signal });
    const rejected = assertRejects(() => update, Error, "enough");
    await assertBlocks(rejected, () => controller.abort(new Error("enough")));
    assertEquals(list(dir), []);
    held.release();
  }));

test("atomicUpdate() respects its signal when the lock has options", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const controller = new AbortController();
    const { signal } = controller;
    const options = { signal, lock: { timeout: 60_000 } };
    const update = atomicUpdate(path.join(dir, "file"), () => "x", options);
    const rejected = within(assertRejects(() => update, Error, "enough"));
    try {
      await assertBlocks(rejected, () => controller.abort(new Error("enough")));
    } finally {
      held.release();
      await update.catch(() => {});
    }
    assertEquals(list(dir), []);
  }));

test("atomicUpdate() does not write when aborted while its function runs", () =>
  inTempDir(async (dir) => {
    const controller = new AbortController();
    const { signal } = controller;
    const update = atomicUpdate(path.join(dir, "file"), () => {
      controller.abort(new Error("enough"));
      return "x";
    }, { signal });
    await assertRejects(() => update, Error, "enough");
    // The call has been rejected, but may not have released the lock yet.
    (await DirLock.acquire(dir)).release();
    assertEquals(list(dir), []);
  }));

test("atomicUpdate() rejects immediately when aborted, but holds the lock until its function settles", () =>
  inTempDir(async (dir) => {
    for (const isHeld of [false, true]) {
      using lock = isHeld ? DirLock.acquireSync(dir) : undefined;
      const file = path.join(dir, "file");
      const controller = new AbortController();
      const reason = new Error("enough");
      let end!: (data: string) => void;
      const aborted = atomicUpdate(file, () => {
        controller.abort(reason);
        return new Promise<string>((resolve) => end = resolve);
      }, { signal: controller.signal, ...lock && { lock } });
      assertStrictEquals(await assertRejects(() => within(aborted)), reason);
      assertEquals(DirLock.tryAcquireSync(dir), null);
      let seen: string | null = "";
      const next = atomicUpdate(file, (bytes) => (seen = decode(bytes), null), lock && { lock });
      await assertBlocks(next, () => end("late"));
      assertEquals([seen, list(dir)], [null, []]);
    }
  }));

test("atomicUpdate() does not call its function when aborted while it reads", () =>
  unchanged(async (file) => {
    const controller = new AbortController();
    const reason = new Error("enough");
    let called = false;
    await intercepted(({ name }) => {
      if (name === "readFile") controller.abort(reason);
    }, async () => {
      const fn = () => (called = true, "new");
      const updated = atomicUpdate(file, fn, { signal: controller.signal });
      assertStrictEquals(await assertRejects(() => updated), reason);
    });
    assert(!called);
  }));

test("atomicUpdate() stops waiting for a file descriptor when aborted", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    await intercepted(({ form, name }) => {
      if (form === "async" && /^(readFile|open|create)$/.test(name)) {
        throw systemError("EMFILE");
      }
    }, async () => {
      const controller = new AbortController();
      const update = atomicUpdate(file, () => "new", { signal: controller.signal });
      // Context must not be added to a reason that has a code like a system error's.
      const reason = Object.freeze(Object.assign(new Error("enough"), { code: "SHUTDOWN" }));
      const rejected = assertRejects(() => update);
      await within(assertBlocks(rejected, () => controller.abort(reason)));
      assertStrictEquals(await rejected, reason);
    });
    assertEquals([list(dir), text(file)], [["file"], "old"]);
  }));
