/**
 * Data in memory: if bytes disappear after the call, the write fails instead of producing a shorter
 * file.
 */
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import * as vm from "node:vm";
import {
  type AtomicChunk,
  AtomicFile,
  atomicUpdate,
  atomicUpdateSync,
  atomicWrite,
  atomicWriteSync,
} from "../../mod.ts";
import { content, numberOf } from "../support/content.ts";
import { inTempDir, list, text, unchanged } from "../support/dir.ts";
import { intercepted, recorded, systemError } from "../support/runtime.ts";
import { pieces, streamOf } from "../support/sources.ts";
import { bytesOf } from "../support/temps.ts";
import { test } from "../support/test.ts";

const DURABILITIES = ["none", "consistent", "durable"] as const;
const MiB = 1 << 20;
const threeSlices = content(3, 33 * MiB);

function resizable(length: number): ArrayBuffer & { resize(length: number): void } {
  const Resizable = ArrayBuffer as unknown as new (
    length: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(length: number): void };
  return new Resizable(length, { maxByteLength: 2 * length });
}

/** Data, and a function that detaches or resizes its buffer after the call. */
const takings: [string, () => { data: ArrayBuffer | Uint8Array; take: () => void }][] = [
  ["a view whose buffer is transferred", () => {
    const data = content(2, 5_000);
    const buffer = data.buffer as ArrayBuffer;
    return { data, take: () => structuredClone(buffer, { transfer: [buffer] }) };
  }],
  ["a buffer that is transferred", () => {
    const data = content(2, 5_000).buffer as ArrayBuffer;
    return { data, take: () => structuredClone(data, { transfer: [data] }) };
  }],
  ["WebAssembly memory that grows", () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    return { data: new Uint8Array(memory.buffer), take: () => memory.grow(1) };
  }],
  ["a buffer that shrinks", () => {
    const data = resizable(5_000);
    return { data, take: () => data.resize(2_500) };
  }],
  ["a view whose buffer shrinks", () => {
    const data = resizable(5_000);
    return { data: new Uint8Array(data), take: () => data.resize(2_500) };
  }],
  ["a buffer that grows", () => {
    const data = resizable(5_000);
    return { data, take: () => data.resize(10_000) };
  }],
  ["a view whose buffer grows", () => {
    const data = resizable(5_000);
    return { data: new Uint8Array(data), take: () => data.resize(10_000) };
  }],
];

for (const [what, make] of takings) {
  for (const durability of DURABILITIES) {
    test(`atomicWrite() rejects ${what}, with durability "${durability}"`, () =>
      unchanged(async (file) => {
        const { data, take } = make();
        const written = atomicWrite(file, data, { durability });
        take();
        await assertRejects(() => written, TypeError);
      }));
  }

  test(`atomicWrite() rejects ${what} while it waits for its turn`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const { data, take } = make();
      const first = atomicWrite(file, "first", { mode: 0o600 });
      const second = atomicWrite(file, data);
      take();
      await assertRejects(() => second, TypeError);
      await first;
      assertEquals([list(dir), text(file)], [["file"], "first"]);
    }));
}

for (const durability of DURABILITIES) {
  test(`atomicWrite() rejects bytes that are transferred during the write, with durability "${durability}"`, () =>
    unchanged(async (file) => {
      const data = new Uint8Array(40 * MiB);
      let count = 0;
      await intercepted((call) => {
        if (bytesOf(call) === undefined || ++count !== 2) return;
        structuredClone(data.buffer, { transfer: [data.buffer] });
      }, async () => {
        await assertRejects(() => atomicWrite(file, data, { durability }), TypeError);
      });
    }));

  test(`atomicWrite() writes slices of at most 16 MiB, with durability "${durability}"`, () =>
    inTempDir(async (dir) => {
      const calls = await recorded(() =>
        atomicWrite(path.join(dir, "file"), threeSlices, { durability })
      );
      const sizes = calls.map(bytesOf).filter((bytes) => bytes !== undefined)
        .map((bytes) => bytes.byteLength);
      assert(Math.max(...sizes) <= 16 * MiB, `${sizes}`);
      assert(fs.readFileSync(path.join(dir, "file")).equals(threeSlices));
    }));
}

test("atomicWrite() stops between two slices when aborted", () =>
  unchanged(async (file) => {
    const controller = new AbortController();
    const reason = new Error("enough");
    let slices = 0;
    await intercepted((call) => {
      if (bytesOf(call) !== undefined && ++slices === 2) controller.abort(reason);
    }, async () => {
      const { signal } = controller;
      const written = atomicWrite(file, new Uint8Array(100 * MiB), { signal });
      assertStrictEquals(await assertRejects(() => written), reason);
    });
    assertEquals(slices, 2);
  }));

test("atomicWrite() writes more than 2 GiB from memory", () =>
  unchanged(async (file) => {
    // The pages are never touched, and the second slice fails, so this needs neither memory nor
    // disk space.
    const data = new Uint8Array(2 ** 31 + 10);
    const enospc = systemError("ENOSPC");
    let slices = 0;
    await intercepted((call) => {
      const bytes = bytesOf(call);
      if (bytes === undefined) return;
      if (++slices === 2) throw enospc;
      assert(bytes.byteLength <= 16 * MiB, `${bytes.byteLength}`);
    }, async () => {
      assertStrictEquals(await assertRejects(() => atomicWrite(file, data)), enospc);
    });
  }));

test("AtomicFile.commit() never publishes fewer bytes than a BYOB reader returned", () =>
  inTempDir(async (dir) => {
    for (const size of [1_000, 200_000]) {
      const target = path.join(dir, `file-${size}`);
      fs.writeFileSync(target, "old");
      const whole = content(4, 3 * size - 8);
      let at = 0;
      const stream = new ReadableStream({
        type: "bytes",
        pull(controller) {
          // deno-lint-ignore no-explicit-any
          const view = (controller as any).byobRequest!.view as Uint8Array;
          const piece = whole.subarray(at, at += view.byteLength);
          new Uint8Array(view.buffer, view.byteOffset).set(piece);
          // deno-lint-ignore no-explicit-any
          (controller as any).byobRequest.respond(piece.byteLength);
        },
      });
      const reader = stream.getReader({ mode: "byob" });
      const file = await AtomicFile.open(target);
      const calls: Promise<void>[] = [];
      let buffer = new ArrayBuffer(size);
      for (let i = 0; i < 3; i++) {
        const { value } = await reader.read(new Uint8Array(buffer));
        calls.push(file.write(value!));
        buffer = value!.buffer as ArrayBuffer;
      }
      // The last buffer is also transferred.
      structuredClone(buffer, { transfer: [buffer] });
      calls.push(file.commit());
      const results = await Promise.allSettled(calls);
      if (results.every(({ status }) => status === "fulfilled")) {
        assertEquals(numberOf(fs.readFileSync(target)), 4);
      } else {
        const { status, reason } = results.at(-1) as PromiseRejectedResult;
        assertEquals([status, reason instanceof TypeError], ["rejected", true]);
        assertEquals(text(target), "old");
      }
    }
    assertEquals(list(dir), ["file-1000", "file-200000"]);
  }));

test("AtomicFile.write() rejects when a large chunk is transferred during the call", () =>
  unchanged(async (target) => {
    const file = await AtomicFile.open(target);
    const chunk = new Uint8Array(MiB);
    const written = file.write(chunk);
    structuredClone(chunk.buffer, { transfer: [chunk.buffer] });
    await assertRejects(() => written, TypeError);
    await assertRejects(() => file.commit(), TypeError);
  }));

test("AtomicFile.write() has copied a small chunk by the time it resolves", () =>
  inTempDir(async (dir) => {
    await using file = await AtomicFile.open(path.join(dir, "file"));
    const chunk = new TextEncoder().encode("one\n");
    await file.write(chunk);
    chunk.set(new TextEncoder().encode("two\n"));
    await file.write(chunk);
    structuredClone(chunk.buffer, { transfer: [chunk.buffer] });
    await file.commit();
    assertEquals(text(file.path), "one\ntwo\n");
  }));

/** Objects that only look like data. */
const imitations: [string, () => unknown][] = [
  ["a Proxy of an ArrayBuffer", () => new Proxy(new ArrayBuffer(8), {})],
  ["a Proxy of a Uint8Array", () => new Proxy(new Uint8Array(8), {})],
  ["an object tagged as an ArrayBuffer", () => ({ [Symbol.toStringTag]: "ArrayBuffer" })],
  ["an object tagged as a Uint8Array", () => ({ [Symbol.toStringTag]: "Uint8Array" })],
  ["an object with the members of a buffer", () => ({ byteLength: 8, slice: () => {} })],
];
for (const [what, make] of imitations) {
  test(`atomicWrite() rejects ${what}`, () =>
    unchanged(async (file) => {
      // deno-lint-ignore no-explicit-any
      const data = make() as any;
      await assertRejects(() => atomicWrite(file, data), TypeError);
      assertThrows(() => atomicWriteSync(file, data), TypeError);
      await assertRejects(() => atomicWrite(file, streamOf([data])), TypeError, "Chunk must be");
      await using opened = await AtomicFile.open(file);
      await assertRejects(() => opened.write(data), TypeError, "Chunk must be");
    }));
}

test("atomicWrite() writes bytes from another realm", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const made = [
      "new Uint8Array([65, 66]).buffer",
      "new Uint8Array([65, 66])",
      "new DataView(new Uint8Array([65, 66]).buffer)",
      "[new Uint8Array([65]), 'B']",
    ].map((code) => vm.runInNewContext(code));
    for (const data of made) {
      await atomicWrite(file, data);
      assertEquals(text(file), "AB");
      fs.rmSync(file);
      atomicWriteSync(file, data);
      assertEquals(text(file), "AB");
      fs.rmSync(file);
    }
  }));

/** Synchronous iterables that yield "a𝄞b" in chunks. */
const iterables: [string, () => Iterable<AtomicChunk>][] = [
  ["an array", () => ["a", new TextEncoder().encode("𝄞").buffer, "", "b"]],
  ["an array that splits a surrogate pair", () => ["a\ud834", "\udd1eb"]],
  ["a Set", () => new Set(["a", "𝄞", "b"])],
  ["a generator", function* () {
    yield* ["a", new TextEncoder().encode("𝄞"), "b"];
  }],
  ["a generator that reuses its buffer", function* () {
    const buffer = new Uint8Array(1);
    for (const byte of new TextEncoder().encode("a𝄞b")) {
      buffer[0] = byte;
      yield buffer;
    }
  }],
];
for (const [what, make] of iterables) {
  test(`atomicWrite(), atomicWriteSync() and updates write the chunks of ${what}`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const writes = [
        () => atomicWrite(file, make()),
        () => atomicWriteSync(file, make()),
        () => atomicUpdate(file, make),
        () => atomicUpdateSync(file, make),
      ];
      for (const write of writes) {
        await write();
        assertEquals([text(file), list(dir)], ["a𝄞b", ["file"]]);
        fs.rmSync(file);
      }
    }));
}

test("atomicWrite() reads a synchronous iterable during the call", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const chunks = ["o", "ld"];
    const first = atomicWrite(file, chunks);
    chunks.push("er");
    const second = atomicWrite(file, "new");
    await Promise.all([first, second]);
    assertEquals(text(file), "new");
    const twoSlices = threeSlices.subarray(0, 17 * MiB);
    atomicWriteSync(file, [...pieces(twoSlices, 99_999)]);
    assert(fs.readFileSync(file).equals(twoSlices));
    await atomicWrite(file, []);
    assertEquals(text(file), "");
  }));

/** Iterables whose items are not chunks, with the error message for each. */
const wrongIterables: [string, () => unknown, string][] = [
  ["a Map", () => new Map([["a", "b"]]), "Each chunk of a Map must be"],
  ["an array of numbers", () => [1, 2], "Each chunk of an array must be"],
  ["a generator of objects", function* () {
    yield {};
  }, "Each chunk of a generator must be"],
];
for (const [what, make, message] of wrongIterables) {
  test(`atomicWrite() and atomicWriteSync() reject ${what}`, () =>
    unchanged(async (file) => {
      // deno-lint-ignore no-explicit-any
      const any = make as () => any;
      await assertRejects(() => atomicWrite(file, any()), TypeError, message);
      assertThrows(() => atomicWriteSync(file, any()), TypeError, message);
    }));
}

test("atomicWriteSync() rejects an object that is also asynchronously iterable", () =>
  unchanged((file) => {
    // Minipass streams have both iterators; the synchronous one ends after the data that has
    // arrived so far.
    const data = { [Symbol.iterator]: () => ["part"].values(), [Symbol.asyncIterator]() {} };
    // deno-lint-ignore no-explicit-any
    assertThrows(() => atomicWriteSync(file, data as any), TypeError, "Data must be");
    return Promise.resolve();
  }));

/** Data that lost its bytes before the call and appears to be empty. */
const goners: [string, () => Uint8Array | Uint16Array | DataView | ArrayBuffer][] = [
  ["a transferred buffer", () => transferred(new ArrayBuffer(8))],
  ["a transferred Uint8Array", () => viewOfTransferred(Uint8Array)],
  ["a transferred Uint16Array", () => viewOfTransferred(Uint16Array)],
  ["a transferred DataView", () => viewOfTransferred(DataView)],
  ["a view of WebAssembly memory that has grown", () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const data = new Uint8Array(memory.buffer);
    memory.grow(1);
    return data;
  }],
  ["a shrunk Uint8Array", () => viewOfShrunk(Uint8Array)],
  ["a shrunk Uint16Array", () => viewOfShrunk(Uint16Array)],
  ["a shrunk DataView", () => viewOfShrunk(DataView)],
];

function transferred(buffer: ArrayBuffer): ArrayBuffer {
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
}

function viewOfTransferred<T extends ArrayBufferView>(View: new (buffer: ArrayBuffer) => T): T {
  const view = new View(new ArrayBuffer(8));
  transferred(view.buffer as ArrayBuffer);
  return view;
}

function viewOfShrunk<T>(View: new (buffer: ArrayBuffer, at: number, length: number) => T): T {
  const buffer = resizable(16);
  const view = new View(buffer, 8, 4);
  buffer.resize(4);
  return view;
}

for (const [what, make] of goners) {
  test(`atomicWrite() rejects data that lost its bytes before the call: ${what}`, () =>
    unchanged(async (file) => {
      await assertRejects(() => atomicWrite(file, make()), TypeError);
      assertThrows(() => atomicWriteSync(file, make()), TypeError);
      await assertRejects(() => atomicWrite(file, streamOf([make() as Uint8Array])), TypeError);
      await using opened = await AtomicFile.open(file);
      await assertRejects(() => opened.write(make()), TypeError);
      await assertRejects(() => opened.commit(), TypeError);
    }));
}

/** A class whose constructor does not accept the arguments that `subarray` would pass. */
class Text extends Uint8Array {
  constructor(text: string) {
    super(new TextEncoder().encode(String(text)));
  }
}

test("atomicWrite() writes a subclass of Uint8Array in several slices", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const data = new Text("x".repeat(17 * MiB));
    const writes = [
      () => atomicWrite(file, data),
      () => atomicWriteSync(file, data),
      () => atomicWrite(file, streamOf([data])),
    ];
    for (const write of writes) {
      fs.writeFileSync(file, "old");
      await write();
      assert(fs.readFileSync(file).equals(data));
    }
  }));
