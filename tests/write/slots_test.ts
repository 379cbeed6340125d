/** How many writes and syncs run concurrently, regardless of their paths. */
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { AtomicFile, atomicWrite } from "../../mod.ts";
import { assertBlocks } from "../support/blocks.ts";
import { begun, held } from "./calls.ts";
import { blobOf, content } from "../support/content.ts";
import { onPlatform } from "../support/fake.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { mostTemps, temps } from "../support/temps.ts";
import { isWindows, test } from "../support/test.ts";
import { within } from "../support/within.ts";

test("atomicWrite() writes at most 64 files concurrently", () =>
  inTempDir(async (dir) => {
    const most = await mostTemps(dir, () =>
      Promise.all(Array.from({ length: 300 }, (_, i) =>
        atomicWrite(path.join(dir, `${i}`), `${i}`))));
    assert(most <= 64, `${most}`);
    assertEquals(list(dir).length, 300);
    for (let i = 0; i < 300; i++) {
      assertEquals(text(path.join(dir, `${i}`)), `${i}`);
    }
  }));

test("atomicWrite() does not wait for open streams and AtomicFiles", () =>
  inTempDir(async (dir) => {
    const files = await Promise.all(
      Array.from({ length: 80 }, (_, i) => AtomicFile.open(path.join(dir, `${i}`))),
    );
    const { source, finish } = held("x");
    const stream = begun(atomicWrite(path.join(dir, "stream"), source));
    await Promise.all(
      Array.from({ length: 70 }, (_, i) => atomicWrite(path.join(dir, `${i}`), "bytes")),
    );
    await Promise.all(files.map((file) => file.commit()));
    await assertBlocks(stream, finish);
    assertEquals([list(dir).length, temps(dir)], [81, []]);
  }));

test("AtomicFile.commit() does not wait for 64 writes that wait for a file descriptor", () =>
  inTempDir(async (dir) => {
    const file = await AtomicFile.open(path.join(dir, "file"));
    let isCommitted = false;
    await intercepted(({ name }) => {
      // They wait for the descriptor of the file to be committed.
      if (name === "create" && !isCommitted) throw systemError("EMFILE");
    }, async () => {
      const others = Array.from(
        { length: 64 },
        (_, i) => begun(atomicWrite(path.join(dir, `${i}`), "x")),
      );
      await within(file.commit());
      isCommitted = true;
      await Promise.all(others);
    });
    assertEquals(list(dir).length, 65);
  }));

test("atomicWrite() rejects when its signal is aborted while 64 other files are being written", () =>
  inTempDir(async (dir) => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const others = Array.from(
      { length: 100 },
      (_, i) => begun(atomicWrite(path.join(dir, `${i}`), content(i, 100_000))),
    );
    const { signal } = controller;
    const last = begun(atomicWrite(path.join(dir, "last"), "x", { signal }));
    let done = 0;
    for (const other of others) {
      other.then(() => done++);
    }
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => last), reason);
    assert(done < 100);
    await Promise.all(others);
    assert(!fs.existsSync(path.join(dir, "last")));
  }));

test("atomicWrite() does not wait for 64 Blobs that stall", () =>
  inTempDir(async (dir) => {
    let read = () => {};
    const released = new Promise<void>((resolve) => read = resolve);
    const arrayBuffer = () => released.then(() => new ArrayBuffer(4));
    const stalled = Array.from({ length: 70 }, (_, i) =>
      begun(
        atomicWrite(path.join(dir, `blob${i}`), Object.assign(blobOf("1234"), { arrayBuffer })),
      ));
    await within(Promise.all(
      Array.from({ length: 70 }, (_, i) => atomicWrite(path.join(dir, `${i}`), "bytes")),
    ));
    assertEquals(list(dir).length, 70);
    read();
    await Promise.all(stalled);
    assertEquals(list(dir).length, 140);
  }));

test(
  'atomicWrite() with durability "durable" syncs at most 64 directories concurrently',
  () =>
    inTempDir(async (dir) => {
      // If syncs did not count as writes, they would pile up on a slow disk.
      let [open, most] = [0, 0];
      await onPlatform(({ async }) => ({
        async: {
          ...async,
          openDir() {
            most = Math.max(most, ++open);
            return Promise.resolve({
              sync: () => new Promise((resolve) => setTimeout(resolve, 100)),
              close: () => void open--,
            });
          },
        },
      }), () =>
        Promise.all(
          Array.from(
            { length: 300 },
            (_, i) => atomicWrite(path.join(dir, `${i}`), `${i}`, { durability: "durable" }),
          ),
        ));
      assert(most <= 64, `${most}`);
      assertEquals(list(dir).length, 300);
    }),
  { skip: isWindows && "directories cannot be synced on Windows" },
);
