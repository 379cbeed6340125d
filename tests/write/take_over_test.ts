/** Synchronous calls that take over asynchronous ones for the same path. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import {
  AtomicFile,
  atomicUpdateSync,
  atomicWrite,
  atomicWriteSync,
  isAtomicWriteError,
} from "../../mod.ts";
import { begun, during, numberIn, outcomes, quick, slow } from "./calls.ts";
import { content } from "../support/content.ts";
import { inTempDir, list, openDescriptors, text } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { writes } from "../support/temps.ts";
import { isWindows, test } from "../support/test.ts";

test("atomicWriteSync() first executes the waiting calls, in order", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const descriptors = openDescriptors(dir);
    const waiting = [
      atomicWrite(file, slow(1), { createNew: true }),
      atomicWrite(file, quick(2), { mode: 0o600 }),
      atomicWrite(file, quick(3), { createNew: true }),
    ];
    const settled = outcomes(waiting);
    const error = assertThrows(() => atomicWriteSync(file, quick(4), { createNew: true }), Error);
    assertEquals((error as Error & { code?: string }).code, "EEXIST");
    assertEquals(numberIn(file), 2);
    atomicWriteSync(file, quick(5));
    assertEquals(numberIn(file), 5);
    assertEquals(await settled, ["ok", "ok", "EEXIST"]);
    assertEquals([numberIn(file), list(dir)], [5, ["file"]]);
    if (!isWindows) assertEquals(fs.statSync(file).mode & 0o777, 0o600);
    assertEquals(openDescriptors(dir), descriptors);
  }));

test("atomicWriteSync() rejects each waiting call with its own failure", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await intercepted((call) => {
      if (writes(call, "bad")) throw systemError("EIO");
    }, async () => {
      const waiting = [
        atomicWrite(file, "bad 1"),
        atomicWrite(file, "good 1", { mode: 0o600 }),
        atomicWrite(file, "bad 2"),
      ];
      const settled = outcomes(waiting);
      atomicWriteSync(file, "sync");
      assertEquals(text(file), "sync");
      assertEquals(await settled, ["EIO", "ok", "EIO"]);

      const before = begun(atomicWrite(file, "good 2"));
      const error = assertThrows(() => atomicWriteSync(file, "bad 3"), Error);
      assertEquals((error as Error & { code?: string }).code, "EIO");
      assertEquals(text(file), "good 2");
      await before;
    });
    assertEquals([text(file), list(dir)], ["good 2", ["file"]]);
  }));

for (const isInFlight of [false, true]) {
  const when = isInFlight ? "during" : "before";
  for (const createNew of [false, true]) {
    for (const durability of ["none", "consistent", "durable"] as const) {
      const what = `${createNew ? "with createNew" : "replacing"}, with durability "${durability}"`;
      test(`atomicWriteSync() takes over a call ${when} each of its steps: ${what}`, () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, "file");
          const descriptors = openDescriptors(dir);
          let landed = "";
          const takeOver = (at: number) =>
            during(
              at,
              isInFlight,
              () => atomicWrite(file, "async", { createNew, durability }),
              () => {
                atomicWriteSync(file, "sync", { durability });
                landed = text(file);
              },
            );
          const count = await takeOver(-1);
          assert(count > 1);
          for (let at = 0; at < count; at++) {
            fs.rmSync(file);
            await takeOver(at);
            assertEquals([landed, text(file), list(dir)], ["sync", "sync", ["file"]], `call ${at}`);
            assertEquals(openDescriptors(dir), descriptors, `call ${at}`);
          }
        }));
    }
  }

  test(`atomicWriteSync() does not hide a failure when it takes over ${when} each step of a call`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const commit = async () => {
        const opened = await AtomicFile.open(file);
        await opened.write("async");
        await opened.commit();
      };
      const calls: [old: boolean, write: () => Promise<void>][] = [
        [true, () => atomicWrite(file, "async")],
        [false, () => atomicWrite(file, "async", { createNew: true })],
        [true, commit],
      ];
      for (const [old, write] of calls) {
        let outcome: string[] = [];
        const takeOver = (at: number) => {
          fs.rmSync(file, { force: true });
          if (old) fs.writeFileSync(file, "old");
          return during(at, isInFlight, () =>
            intercepted(({ name, args }) => {
              if ((name !== "rename" && name !== "link") || args[1] !== file) return;
              if (text(String(args[0])) === "async") throw systemError("EIO");
            }, async () => {
              outcome = await outcomes([write()]);
            }), () => atomicWriteSync(file, "sync"));
        };
        const count = await takeOver(-1);
        for (let at = 0; at < count; at++) {
          await takeOver(at);
          assertEquals([outcome, text(file), list(dir)], [["EIO"], "sync", ["file"]], `call ${at}`);
        }
      }
    }));

  test(`atomicWriteSync() takes over a commit ${when} each of its steps`, () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      const descriptors = openDescriptors(dir);
      let landed = "";
      const takeOver = (at: number) => {
        fs.writeFileSync(target, "old");
        fs.chmodSync(target, 0o644);
        return during(at, isInFlight, async () => {
          const file = await AtomicFile.open(target);
          await file.write("draft");
          // Because of this change, the commit sets the temporary file's mode again.
          fs.chmodSync(target, 0o600);
          await file.commit();
        }, () => {
          atomicWriteSync(target, "sync");
          landed = text(target);
        });
      };
      const count = await takeOver(-1);
      assert(count > 1);
      for (let at = 0; at < count; at++) {
        await takeOver(at);
        assertEquals([landed, list(dir)], ["sync", ["file"]], `call ${at}`);
        // If the commit had not yet joined the queue, it takes effect later.
        assert(["draft", "sync"].includes(text(target)));
        assertEquals(openDescriptors(dir), descriptors, `call ${at}`);
      }
    }));
}

test(
  "atomicUpdateSync() opens no file when it takes over a commit",
  () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      fs.writeFileSync(target, "old");
      let opened = 0;
      await intercepted(({ name, form }) => {
        if (name === "openExisting") opened++;
        if (form === "async" && name === "rename") atomicUpdateSync(target, (bytes) => bytes);
      }, async () => {
        const file = await AtomicFile.open(target);
        await file.write("draft");
        await file.commit();
      });
      assertEquals([text(target), opened, list(dir)], ["draft", 0, ["file"]]);
    }),
  { skip: isWindows && "Windows has no permission bits" },
);

test("atomicWriteSync() lets a commit fail when its temporary file was removed", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    fs.writeFileSync(target, "old");
    let outcome: string[] = [];
    await intercepted(({ name, args, form }) => {
      if (form !== "async" || name !== "rename") return;
      fs.rmSync(String(args[0]));
      atomicWriteSync(target, "sync");
    }, async () => {
      const file = await AtomicFile.open(target);
      await file.write("draft");
      outcome = await outcomes([file.commit()]);
    });
    assertEquals([outcome, text(target), list(dir)], [["ENOENT"], "sync", ["file"]]);
  }));

test("atomicWriteSync() takes over a call at any moment", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (let round = 0; round < 200; round++) {
      const options = { createNew: round % 2 === 0, durability: "none" } as const;
      if (options.createNew) fs.rmSync(file, { force: true });
      const size = round % 3 === 0 ? 100_000 : 10;
      const first = begun(atomicWrite(file, content(1, size), options));
      for (let i = 0; i < round % 8; i++) await new Promise((resolve) => setImmediate(resolve));
      atomicWriteSync(file, quick(2));
      assertEquals(numberIn(file), 2);
      await first;
      assertEquals([numberIn(file), list(dir)], [2, ["file"]]);
    }
  }));

for (const isInFlight of [false, true]) {
  const when = isInFlight ? "during" : "before";
  test(`atomicWriteSync() leaves no file of an aborted call that it takes over ${when} each of its steps`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const descriptors = openDescriptors(dir);
      const write = async (createNew: boolean, signal: AbortSignal) => {
        await outcomes([atomicWrite(file, "async", { createNew, signal })]);
      };
      const commit = async (createNew: boolean, signal: AbortSignal) => {
        const opened = await AtomicFile.open(file, { createNew, signal }).catch(() => undefined);
        if (opened !== undefined) await outcomes([opened.write("async"), opened.commit()]);
      };
      for (const begin of [write, commit]) {
        for (const createNew of [false, true]) {
          const takeOver = (at: number) => {
            fs.rmSync(file, { force: true });
            const controller = new AbortController();
            return during(at, isInFlight, () => begin(createNew, controller.signal), () => {
              controller.abort();
              atomicWriteSync(file, "sync");
            });
          };
          const count = await takeOver(-1);
          for (let at = 0; at < count; at++) {
            await takeOver(at);
            assertEquals([text(file), list(dir)], ["sync", ["file"]], `call ${at}`);
            assertEquals(openDescriptors(dir), descriptors, `call ${at}`);
          }
        }
      }
    }));
}

for (const durability of ["none", "durable"] as const) {
  test(`atomicWriteSync() lets a call fail when its temporary file was removed, with durability "${durability}"`, () =>
    inTempDir(async (dir) => {
      for (const createNew of [false, true]) {
        const file = path.join(dir, "file");
        if (!createNew) fs.writeFileSync(file, "old");
        let outcome: string[] = [];
        await intercepted(({ name, args, form }) => {
          if (form !== "async" || (name !== "rename" && name !== "link")) return;
          fs.rmSync(String(args[0]));
          atomicWriteSync(file, "sync");
        }, async () => {
          outcome = await outcomes([atomicWrite(file, "async", { createNew, durability })]);
        });
        assertEquals([outcome, text(file), list(dir)], [["ENOENT"], "sync", ["file"]]);
        fs.rmSync(file);
      }
    }));
}

test(
  "atomicWriteSync() throws EBUSY while another write copies over the file in place",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      const codes: unknown[] = [];
      await intercepted(({ name, args }) => {
        if (name === "rename" && args[1] === file) throw systemError("EBUSY");
        if (name !== "file.read") return;
        const error: unknown = assertThrows(() => atomicWriteSync(file, "sync"));
        codes.push(isAtomicWriteError(error) && error.code);
      }, () => atomicWrite(file, "async", { fallback: "in-place" }));
      assertEquals([codes, text(file), list(dir)], [["EBUSY", "EBUSY"], "async", ["file"]]);
    }),
  { skip: isWindows && "files are never copied in place on Windows" },
);
