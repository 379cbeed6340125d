/** AtomicFile: content that is written in chunks and published in one step. */
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import * as childProcess from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { AtomicFile } from "../../mod.ts";
import { content, numberOf } from "../support/content.ts";
import { inTempDir, list, text, unchanged } from "../support/dir.ts";
import { intercepted, recorded, systemError } from "../support/runtime.ts";
import { pieces, streamOf } from "../support/sources.ts";
import { isRoot, isWindows, test, testWithLinks } from "../support/test.ts";
import { within } from "../support/within.ts";

const whole = content(7, 200_000);
test("AtomicFile.commit() publishes everything that was written", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    fs.writeFileSync(target, "old");
    await using file = await AtomicFile.open(target);
    assertEquals(file.path, target);
    for (const piece of pieces(whole, 30_000)) await file.write(piece);
    assertEquals(text(target), "old");
    await file.commit();
    assertEquals(numberOf(fs.readFileSync(target)), 7);
    assertEquals(list(dir), ["file"]);
  }));

test("AtomicFile.write() keeps the order of calls that are not awaited", () =>
  inTempDir(async (dir) => {
    await using file = await AtomicFile.open(path.join(dir, "file"));
    const calls = [..."atomic"].map((letter) => file.write(letter.repeat(1000)));
    calls.push(file.commit());
    await Promise.all(calls);
    assertEquals(text(file.path).replace(/(.)\1+/g, "$1"), "atomic");
  }));

test("AtomicFile.writable does not commit when a stream piped into it ends", () =>
  inTempDir(async (dir) => {
    await using file = await AtomicFile.open(path.join(dir, "file"));
    await streamOf(pieces(whole, 10_000)).pipeTo(file.writable);
    assertEquals(fs.existsSync(file.path), false);
    await file.commit();
    assertEquals(numberOf(fs.readFileSync(file.path)), 7);
  }));

test("AtomicFile.writable discards the file when the piped stream fails", () =>
  unchanged(async (target) => {
    const reason = new Error("source");
    const file = await AtomicFile.open(target);
    const error = await assertRejects(() => streamOf([whole], reason).pipeTo(file.writable));
    assertStrictEquals(error, reason);
    assertStrictEquals(await assertRejects(() => file.commit()), reason);
  }));

test("AtomicFile.discard() leaves the target unchanged when called repeatedly", () =>
  unchanged(async (target) => {
    const file = await AtomicFile.open(target);
    await file.write("new");
    await Promise.all([file.discard(), file.discard()]);
    await file.discard();
    await assertRejects(() => file.write("x"), TypeError, "already been discarded");
    await assertRejects(() => file.commit(), TypeError, "already been discarded");
  }));

test("AtomicFile.discard() does nothing after a commit", () =>
  inTempDir(async (dir) => {
    const file = await AtomicFile.open(path.join(dir, "file"));
    await file.write("x");
    const committed = file.commit();
    await file.discard();
    await committed;
    await assertRejects(() => file.write("x"), TypeError, "already been committed");
    await assertRejects(() => file.commit(), TypeError, "already been committed");
    assertEquals(text(file.path), "x");
  }));

test("AtomicFile is discarded at the end of an await using scope", () =>
  unchanged(async (target) => {
    await using file = await AtomicFile.open(target);
    await file.write("new");
  }));

test("AtomicFile is discarded when the signal is aborted", () =>
  unchanged(async (target) => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const file = await AtomicFile.open(target, { signal: controller.signal });
    await file.write("new");
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => file.write("x")), reason);
    assertStrictEquals(await assertRejects(() => file.commit()), reason);
  }));

test("AtomicFile.commit() rejects after a write has failed", () =>
  unchanged(async (target) => {
    const file = await AtomicFile.open(target);
    const enospc = systemError("ENOSPC");
    await intercepted(() => {}, () => file.write("fine"));
    await file.discard();

    let broken!: AtomicFile;
    await intercepted(({ name }) => {
      if (name === "file.write") throw enospc;
    }, async () => {
      broken = await AtomicFile.open(target);
      assertStrictEquals(await assertRejects(() => broken.write(whole)), enospc);
    });
    assertStrictEquals(await assertRejects(() => broken.commit()), enospc);
    assertStrictEquals(await assertRejects(() => broken.write("x")), enospc);
  }));

test("AtomicFile.commit() rejects after a chunk of the wrong type", () =>
  unchanged(async (target) => {
    const file = await AtomicFile.open(target);
    await file.write("first part");
    // @ts-expect-error A number is not a valid chunk.
    await assertRejects(() => file.write(1), TypeError, "Chunk must be");
    await assertRejects(() => file.write("x"), TypeError);
    await assertRejects(() => file.commit(), TypeError);
  }));

test("AtomicFile.commit() rejects when called right after a chunk of the wrong type", () =>
  unchanged(async (target) => {
    const file = await AtomicFile.open(target);
    // @ts-expect-error A number is not a valid chunk.
    const calls = [file.write("first"), file.write(1), file.write("last"), file.commit()];
    const [, ...others] = await Promise.allSettled(calls);
    for (const other of others) {
      assertEquals(other.status, "rejected");
      assert((other as PromiseRejectedResult).reason instanceof TypeError);
    }
  }));

test("AtomicFile.commit() rejects after a piped chunk of the wrong type", () =>
  unchanged(async (target) => {
    const file = await AtomicFile.open(target);
    const chunks = [whole, 1, whole] as Uint8Array[];
    await assertRejects(() => streamOf(chunks).pipeTo(file.writable), TypeError, "Chunk must be");
    await assertRejects(() => file.commit(), TypeError);
  }));

test("AtomicFile.commit() rejects after a pipe was aborted", () =>
  unchanged(async (target) => {
    const file = await AtomicFile.open(target);
    const controller = new AbortController();
    const { signal } = controller;
    const source = new ReadableStream<Uint8Array>({
      start: (to) => to.enqueue(whole),
      pull: () => controller.abort(),
    });
    const error = await assertRejects(() => source.pipeTo(file.writable, { signal }));
    assertStrictEquals(await assertRejects(() => file.commit()), error);
  }));

test("AtomicFile.commit() waits for a writer to close when neither call is awaited", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    await using file = await AtomicFile.open(target);
    const writer = file.writable.getWriter();
    const encoder = new TextEncoder();
    const calls = ["a", "b", "c"].map((letter) => writer.write(encoder.encode(letter)));
    calls.push(writer.close(), file.commit());
    await Promise.all(calls);
    assertEquals([text(target), list(dir)], ["abc", ["file"]]);
  }));

test("AtomicFile.commit() waits for large chunks and for a writer to close", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    await using file = await AtomicFile.open(target);
    const writer = file.writable.getWriter();
    const calls = [...pieces(whole, 70_000)].map((piece) => writer.write(piece));
    calls.push(writer.close(), file.commit());
    await Promise.all(calls);
    assertEquals(numberOf(fs.readFileSync(target)), 7);
  }));

test("AtomicFile.commit() ignores a chunk that was rejected because its writer was already closed", () =>
  inTempDir(async (dir) => {
    const file = await AtomicFile.open(path.join(dir, "file"));
    const writer = file.writable.getWriter();
    writer.write(whole);
    writer.close();
    const refused = assertRejects(() => writer.write(whole), TypeError);
    await within(file.commit());
    await refused;
    assertEquals(numberOf(fs.readFileSync(path.join(dir, "file"))), 7);
  }));

test("AtomicFile.commit() publishes chunks from both write() and a writer", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    await using file = await AtomicFile.open(target);
    const encoder = new TextEncoder();
    const writer = file.writable.getWriter();
    await writer.ready;
    const calls = [
      file.write("a"),
      writer.write(encoder.encode("b")),
      writer.write(encoder.encode("c")),
      writer.close(),
      file.commit(),
    ];
    await Promise.all(calls);
    assertEquals(text(target).split("").sort().join(""), "abc");
    assert(text(target).indexOf("b") < text(target).indexOf("c"));
  }));

test("AtomicFile.commit() rejects when a writer has already received a bad chunk", () =>
  unchanged(async (target) => {
    const file = await AtomicFile.open(target);
    const writer = file.writable.getWriter();
    writer.closed.catch(() => {});
    const calls = [
      writer.write(whole),
      writer.write(1 as unknown as Uint8Array),
      file.commit(),
    ];
    const [, ...others] = await Promise.allSettled(calls);
    assertEquals(others.map(({ status }) => status), ["rejected", "rejected"]);
  }));

/** Ways to use `writable` without closing it. */
const unclosed: [string, (file: AtomicFile) => unknown][] = [
  ["a writer that keeps its lock", (file) => file.writable.getWriter().write(whole)],
  [
    "a writer whose chunk is still being written",
    (file) => void file.writable.getWriter().write(whole),
  ],
  ["a writer that has released its lock", async (file) => {
    const writer = file.writable.getWriter();
    await writer.write(whole);
    writer.releaseLock();
  }],
  ["a pipe with preventClose", (file) => {
    return streamOf([whole]).pipeTo(file.writable, { preventClose: true });
  }],
  ["a pipe that has not passed a chunk yet", (file) => {
    new ReadableStream<Uint8Array>().pipeTo(file.writable).catch(() => {});
  }],
];
for (const [what, use] of unclosed) {
  test(`AtomicFile.commit() rejects and leaves the file open when writable is not closed: ${what}`, () =>
    unchanged(async (target) => {
      await using file = await AtomicFile.open(target);
      await use(file);
      for (let i = 0; i < 2; i++) {
        await assertRejects(() => within(file.commit()), TypeError, "First await its close()");
      }
      await file.write("x");
    }));
}

test("AtomicFile.commit() succeeds when called again after the writer is closed", () =>
  inTempDir(async (dir) => {
    await using file = await AtomicFile.open(path.join(dir, "file"));
    const writer = file.writable.getWriter();
    await writer.write(whole);
    await assertRejects(() => file.commit(), TypeError, "First await its close()");
    await writer.close();
    await file.commit();
    assertEquals(numberOf(fs.readFileSync(file.path)), 7);
  }));

test("AtomicFile.commit() succeeds when the `writable` property was read but never used", () =>
  inTempDir(async (dir) => {
    await using file = await AtomicFile.open(path.join(dir, "file"));
    assertEquals(file.writable.locked, false);
    await file.write("x");
    const committed = file.commit();
    await assertRejects(() => file.write("y"), TypeError);
    await committed;
    assertEquals(text(file.path), "x");
  }));

test("AtomicFile cannot be constructed without open()", () => {
  const Constructor = AtomicFile as unknown as new (path: string) => AtomicFile;
  assertThrows(() => new Constructor("file"), TypeError, "use await AtomicFile.open(path)");
});

test("AtomicFile.write() combines small chunks into a few system calls", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    const calls = await recorded(async () => {
      await using file = await AtomicFile.open(target);
      for (const piece of pieces(whole, 100)) await file.write(piece);
      await file.commit();
    });
    const writes = calls.filter(({ name }) => name === "file.write");
    for (const { args: [bytes] } of writes) assert((bytes as Uint8Array).byteLength <= 64 << 10);
    // 200,008 bytes need four buffers of 64 KiB.
    assert(writes.length <= 5, `${writes.length} writes`);
    assertEquals(numberOf(fs.readFileSync(target)), 7);
  }));

test("AtomicFile.write() keeps the order of small and large chunks", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    await using file = await AtomicFile.open(target);
    let at = 0;
    for (const size of [10, 70_000, 1, 65_536, 65_535, 2, 0]) {
      await file.write(whole.subarray(at, at += size));
    }
    await file.write(whole.subarray(at));
    await file.commit();
    assertEquals(numberOf(fs.readFileSync(target)), 7);
  }));

test("AtomicFile.commit() rejects when buffered chunks cannot be written", () =>
  unchanged(async (target) => {
    const enospc = systemError("ENOSPC");
    await intercepted(({ name }) => {
      if (name === "file.write") throw enospc;
    }, async () => {
      const file = await AtomicFile.open(target);
      const results = await Promise.allSettled([file.write("x"), file.write("y"), file.commit()]);
      assertStrictEquals((results[2] as PromiseRejectedResult).reason, enospc);
      assertStrictEquals(await assertRejects(() => file.write("z")), enospc);
      assertStrictEquals(await assertRejects(() => file.commit()), enospc);
    });
  }));

test("AtomicFile.write() joins a surrogate pair that is split between two strings", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    await using file = await AtomicFile.open(target);
    for (const part of ["a\ud834", "\udd1eb\ud83d", "", "\ude00"]) await file.write(part);
    await file.commit();
    assertEquals(text(target), "a𝄞b😀");
  }));

for (const late of ["\ud83d", "\ude00"]) {
  test(`AtomicFile.commit() does not publish a later write(): ${JSON.stringify(late)}`, () =>
    inTempDir(async (dir) => {
      const file = await AtomicFile.open(path.join(dir, "file"));
      await file.write(late === "\ude00" ? "a\ud83d" : "a");
      const committed = file.commit();
      await assertRejects(() => file.write(late), TypeError);
      await committed;
      assertEquals(text(path.join(dir, "file")), late === "\ude00" ? "a\ufffd" : "a");
    }));
}

test("AtomicFile.write() replaces a lone surrogate", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    await using file = await AtomicFile.open(target);
    for (const part of ["\ud834", Uint8Array.of(65), "\udd1e", "\ud834"]) await file.write(part);
    await file.commit();
    assertEquals(text(target), "\ufffdA\ufffd\ufffd");
  }));

test(
  "AtomicFile.commit() keeps the mode that the target has at commit time",
  () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      fs.writeFileSync(target, "old");
      for (const mode of [0o600, 0o644, 0o755, 0o444]) {
        await using file = await AtomicFile.open(target);
        await file.write("new");
        fs.chmodSync(target, mode);
        await file.commit();
        assertEquals(fs.statSync(target).mode & 0o7777, mode);
      }
    }),
  { skip: isWindows && "Windows has no permission bits" },
);

test(
  "AtomicFile.commit() keeps the owner that the target has at commit time",
  () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      fs.writeFileSync(target, "old");
      await using file = await AtomicFile.open(target);
      await file.write("new");
      fs.chownSync(target, 1234, 4321);
      fs.chmodSync(target, 0o6750);
      await file.commit();
      const { uid, gid, mode } = fs.statSync(target);
      assertEquals([uid, gid, mode & 0o7777], [1234, 4321, 0o6750]);
    }),
  { skip: !isRoot && "only root can change the owner" },
);

test(
  "AtomicFile.commit() keeps the mode of a target that was created while the AtomicFile was open",
  () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      await using file = await AtomicFile.open(target);
      await file.write("new");
      fs.writeFileSync(target, "theirs");
      fs.chmodSync(target, 0o600);
      await file.commit();
      assertEquals([text(target), fs.statSync(target).mode & 0o7777], ["new", 0o600]);
    }),
  { skip: isWindows && "Windows has no permission bits" },
);

test(
  "AtomicFile.commit() keeps the mode of a target that was removed while the AtomicFile was open",
  () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      fs.writeFileSync(target, "old");
      fs.chmodSync(target, 0o600);
      await using file = await AtomicFile.open(target);
      await file.write("new");
      fs.unlinkSync(target);
      await file.commit();
      assertEquals([text(target), fs.statSync(target).mode & 0o7777], ["new", 0o600]);
    }),
  { skip: isWindows && "Windows has no permission bits" },
);

test(
  "AtomicFile.commit() syncs the file again only when the mode or owner has changed",
  () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      fs.writeFileSync(target, "old");
      for (const [mode, expected] of [[0o644, 1], [0o600, 2]] as const) {
        fs.chmodSync(target, 0o644);
        const calls = await recorded(async () => {
          await using file = await AtomicFile.open(target);
          await file.write("new");
          fs.chmodSync(target, mode);
          await file.commit();
        });
        const syncs = calls.filter(({ name }) => name === "file.sync").length;
        assert(syncs >= 1 && syncs <= expected, `${syncs}`);
        assertEquals(fs.statSync(target).mode & 0o777, mode);
      }
    }),
  { skip: isWindows && "Windows has no permission bits" },
);

test(
  "AtomicFile.commit() rejects a FIFO that was created while the AtomicFile was open",
  () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      fs.writeFileSync(target, "old");
      const file = await AtomicFile.open(target);
      await file.write("new");
      fs.unlinkSync(target);
      assertEquals(childProcess.spawnSync("mkfifo", [target]).status, 0);
      const error = await assertRejects(() => file.commit(), Error);
      assertEquals((error as Error & { code?: string }).code, "ENOTSUP");
      assert(fs.lstatSync(target).isFIFO());
      assertEquals(list(dir), ["file"]);
    }),
  { skip: isWindows && "Windows has no FIFOs" },
);

testWithLinks(
  "AtomicFile.commit() follows a link that was created while the AtomicFile was open",
  () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      await using file = await AtomicFile.open(target);
      await file.write("new");
      fs.symlinkSync("elsewhere", target);
      await file.commit();
      assert(fs.lstatSync(target).isSymbolicLink());
      assertEquals([text(path.join(dir, "elsewhere")), list(dir)], ["new", ["elsewhere", "file"]]);
    }),
);

test("AtomicFile.commit() publishes only once when called twice while chunks are queued", () =>
  inTempDir(async (dir) => {
    await using file = await AtomicFile.open(path.join(dir, "file"));
    const writer = file.writable.getWriter();
    for (const piece of pieces(whole, 10_000)) writer.write(piece);
    writer.close();
    const [first, second] = await within(Promise.allSettled([file.commit(), file.commit()]));
    assertEquals([first.status, second.status], ["fulfilled", "rejected"]);
    assertEquals(numberOf(fs.readFileSync(file.path)), 7);
  }));
