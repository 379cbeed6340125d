/** The order of calls for the same path when some of them write a Blob. */
import { assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { readJsonSync } from "../../json.ts";
import { atomicUpdateSync, atomicWrite, atomicWriteSync, isAtomicWriteError } from "../../mod.ts";
import { begun } from "./calls.ts";
import { blobOf } from "../support/content.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { test } from "../support/test.ts";
import { within } from "../support/within.ts";

test("atomicWrite() keeps the order of Blobs, strings and bytes", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (let round = 0; round < 5; round++) {
      const options = { durability: "none" } as const;
      await Promise.all([
        atomicWrite(file, blobOf("1".repeat(1_000_000)), options),
        atomicWrite(file, "2", options),
      ]);
      assertEquals(text(file), "2");
      await Promise.all([
        atomicWrite(file, "3", { mode: 0o600, ...options }),
        atomicWrite(file, blobOf("4"), options),
      ]);
      assertEquals(text(file), "4");
    }
    assertEquals(list(dir), ["file"]);
  }));

for (const state of ["waits", "is being read", "is being written"] as const) {
  test(`atomicWriteSync() throws EBUSY while a Blob ${state}, and changes nothing`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      const refused: (Error & { code?: string })[] = [];
      const sync = () => {
        for (
          const call of [
            () => atomicWriteSync(file, "sync"),
            () => atomicUpdateSync(file, () => "x"),
            () => readJsonSync(file),
          ]
        ) {
          refused.push(assertThrows(call, Error));
        }
      };
      const { blob, read } = heldBlob("blob");
      let first: Promise<void> | undefined;
      await intercepted(({ name }) => {
        if (state === "is being written" && name === "rename") sync();
      }, async () => {
        if (state === "waits") first = begun(atomicWrite(file, "first", { mode: 0o600 }));
        const write = begun(atomicWrite(file, blob));
        if (state !== "is being written") sync();
        read();
        await Promise.all([first, write]);
      });
      assertEquals(refused.map(({ code }) => code), ["EBUSY", "EBUSY", "EBUSY"]);
      assertEquals(refused.map(isAtomicWriteError), [true, false, false]);
      assertEquals([text(file), list(dir)], ["blob", ["file"]]);
    }));
}

test("atomicWrite() of a Blob that cannot be read rejects, and later calls succeed", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const reason = new Error("unreadable");
    const blob = Object.assign(blobOf("1"), { arrayBuffer: () => Promise.reject(reason) });
    const write = begun(atomicWrite(file, blob));
    await atomicWrite(file, "2", { mode: 0o600 });
    assertStrictEquals(await assertRejects(() => write), reason);
    assertEquals([text(file), list(dir)], ["2", ["file"]]);
  }));

test("atomicWrite() reads a Blob again when no file descriptor was free at first", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    let reads = 0;
    const blob = Object.assign(blobOf("blob"), {
      arrayBuffer() {
        if (++reads === 1) return Promise.reject(systemError("EMFILE"));
        return Promise.resolve(new TextEncoder().encode("blob").buffer);
      },
    });
    await atomicWrite(file, blob);
    assertEquals([text(file), reads], ["blob", 2]);
  }));

test("atomicWrite() of a Blob that stalls rejects when its signal is aborted", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const controller = new AbortController();
    const reason = new Error("enough");
    const { blob } = heldBlob("1");
    const write = begun(atomicWrite(file, blob, { signal: controller.signal }));
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => within(write)), reason);
    atomicWriteSync(file, "2");
    assertEquals([text(file), list(dir)], ["2", ["file"]]);
  }));

/** A Blob that cannot be read until `read` is called. */
function heldBlob(content: string): { blob: Blob; read: () => void } {
  let read!: () => void;
  const released = new Promise<void>((resolve) => read = resolve);
  const blob = blobOf(content);
  const arrayBuffer = () => released.then(() => new TextEncoder().encode(content).buffer);
  return { blob: Object.assign(blob, { arrayBuffer }), read };
}
