import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { Readable } from "node:stream";
import { type AtomicData, AtomicFile, atomicWrite, type AtomicWriteOptions } from "../../mod.ts";
import { blobOf, content, numberOf } from "../support/content.ts";
import { inTempDir, list, openDescriptors, text, unchanged } from "../support/dir.ts";
import { runtime } from "../../runtime/mod.ts";
import { onPlatform } from "../support/fake.ts";
import { intercepted, recorded, systemError } from "../support/runtime.ts";
import { pieces, streamOf } from "../support/sources.ts";
import { isWindows, test } from "../support/test.ts";
import { within } from "../support/within.ts";

const whole = content(7, 200_000);
const sources: [string, () => AtomicData][] = [
  ["a ReadableStream", () => streamOf(pieces(whole, 9_999))],
  ["a Blob", () => blobOf(whole)],
  ["an AsyncIterable", async function* () {
    yield* pieces(whole, 12_345);
  }],
  ["a node:stream stream", () => Readable.from(pieces(whole, 50_000))],
];
for (const [what, make] of sources) {
  test(`atomicWrite() writes ${what}`, () =>
    inTempDir(async (dir) => {
      for (const durability of ["none", "consistent", "durable"] as const) {
        await atomicWrite(path.join(dir, "file"), make(), { durability });
        assertEquals(numberOf(fs.readFileSync(path.join(dir, "file"))), 7);
      }
      assertEquals(list(dir), ["file"]);
    }));
}

/**
 * Returns a Blob whose size does not match its bytes, as is possible with Bun's file and S3 Blobs.
 */
function blobOfSize(size: number): Blob {
  const blob = Object.defineProperty(blobOf(whole), "size", { value: size });
  // Deno's own arrayBuffer() would rely on the size.
  return Object.assign(blob, { arrayBuffer: () => Promise.resolve(whole.slice().buffer) });
}

for (const size of [NaN, Infinity, 3 * 2 ** 30]) {
  test(`atomicWrite() streams a Blob whose size is ${size}`, () =>
    inTempDir(async (dir) => {
      await atomicWrite(path.join(dir, "file"), blobOfSize(size));
      assertEquals(numberOf(fs.readFileSync(path.join(dir, "file"))), 7);
    }));
}

for (const size of [0, whole.byteLength - 1, whole.byteLength + 1]) {
  test(`atomicWrite() rejects a Blob of size ${size} that contains ${whole.byteLength} bytes`, () =>
    unchanged((file) => assertRejects(() => atomicWrite(file, blobOfSize(size)), TypeError)));
}

test("atomicWrite() writes a Blob without stream()", () =>
  inTempDir(async (dir) => {
    const { size, arrayBuffer } = blobOf(whole);
    const blob = { size, slice() {}, arrayBuffer: arrayBuffer.bind(blobOf(whole)) };
    await atomicWrite(path.join(dir, "file"), blob as unknown as Blob);
    assertEquals(numberOf(fs.readFileSync(path.join(dir, "file"))), 7);
  }));

test("atomicWrite() rejects a Blob without arrayBuffer(), such as jsdom's", () =>
  unchanged(async (file) => {
    class Blob {
      readonly size = 1;
      slice() {}
    }
    const blob = new Blob() as unknown as AtomicData;
    const message = "received a Blob without arrayBuffer(). Read it with a FileReader";
    await assertRejects(() => atomicWrite(file, blob), TypeError, message);
  }));

test("atomicWrite() rejects with the error when reading an empty Blob fails", () =>
  unchanged(async (file) => {
    const reason = new Error("missing");
    const blob = Object.assign(blobOf(), { arrayBuffer: () => Promise.reject(reason) });
    assertStrictEquals(await assertRejects(() => atomicWrite(file, blob)), reason);
  }));

test("atomicWrite() writes strings and bytes from an AsyncIterable", () =>
  inTempDir(async (dir) => {
    await atomicWrite(
      path.join(dir, "file"),
      (async function* () {
        yield "a";
        yield Uint8Array.of(98);
        yield "";
        yield "ü";
      })(),
    );
    assertEquals(text(path.join(dir, "file")), "abü");
  }));

test("atomicWrite() writes a stream of 200 MiB in bounded memory", () =>
  inTempDir(async (dir) => {
    const chunk = new Uint8Array(1 << 20);
    let most = 0;
    let count = 0;
    const before = process.memoryUsage().rss;
    await atomicWrite(
      path.join(dir, "file"),
      (async function* () {
        for (; count < 200; count++) {
          most = Math.max(most, process.memoryUsage().rss);
          yield chunk;
        }
      })(),
      { durability: "none" },
    );
    assertEquals(fs.statSync(path.join(dir, "file")).size, 200 << 20);
    assert(most - before < 100 << 20, `${(most - before) >> 20} MiB`);
  }));

test("atomicWrite() reads a stream no faster than it can write", () =>
  inTempDir(async (dir) => {
    let read = 0;
    let ahead = 0;
    let written = 0;
    await intercepted(({ name }) => {
      if (name !== "file.write") return;
      written++;
      ahead = Math.max(ahead, read - written);
    }, () =>
      atomicWrite(
        path.join(dir, "file"),
        new ReadableStream({
          pull(controller) {
            if (++read > 100) controller.close();
            // Smaller chunks are combined.
            else controller.enqueue(new Uint8Array(100_000));
          },
        }),
      ));
    assertEquals(written, 100);
    assert(ahead <= 2, `${ahead} chunks`);
  }));

test("atomicWrite() rejects with a source's own error, unchanged", () =>
  unchanged(async (file) => {
    const reason = Object.assign(new Error("mine"), { code: "ENOENT" });
    const failing: AtomicData[] = [
      streamOf([whole], reason),
      (async function* () {
        yield "half";
        throw reason;
      })(),
    ];
    for (const data of failing) {
      const error = await assertRejects(() => atomicWrite(file, data));
      assertStrictEquals(error, reason);
      assertEquals((error as Error).message, "mine");
    }
  }));

test("atomicWrite() cancels the source when it cannot write", () =>
  unchanged(async (file) => {
    let cancelled: unknown;
    let returned = false;
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(whole),
      cancel: (reason) => void (cancelled = reason),
    });
    const iterable = (async function* () {
      try {
        for (;;) yield whole;
      } finally {
        returned = true;
      }
    })();
    const enospc = systemError("ENOSPC");
    await intercepted(({ name }, index) => {
      if (name === "file.write" && index > 4) throw enospc;
    }, async () => {
      assertStrictEquals(await assertRejects(() => atomicWrite(file, stream)), enospc);
      assertStrictEquals(await assertRejects(() => atomicWrite(file, iterable)), enospc);
    });
    assertStrictEquals(cancelled, enospc);
    assert(returned);
  }));

test("atomicWrite() keeps its error when the source cannot be stopped", () =>
  inTempDir(async (dir) => {
    const iterable: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: false, value: whole }),
        return: () => {
          throw new Error("cannot be stopped");
        },
      }),
    };
    await assertRejects(() => atomicWrite(dir, iterable), Error, "Is a directory");
  }));

/** Sources that yield a bad chunk and cannot be stopped. */
const stubborn: [string, () => AtomicData][] = [
  ["a node:stream stream", () => {
    const stream = new Readable({ objectMode: true, read: () => void stream.push({}) });
    stream.destroy = () => {
      throw new Error("cannot be destroyed");
    };
    return stream;
  }],
  ["a reader", () => {
    const cancel = () => {
      throw new Error("cannot be cancelled");
    };
    const getReader = () => ({ read: () => Promise.resolve({ value: {} }), cancel });
    return { getReader } as unknown as ReadableStream<Uint8Array>;
  }],
  ["a reader of another kind", () => {
    const getReader = () => ({ read: () => Promise.resolve({ value: {} }), cancel() {} });
    return { getReader } as unknown as ReadableStream<Uint8Array>;
  }],
];
for (const [what, make] of stubborn) {
  test(`atomicWrite() leaves no file when ${what} fails and cannot be stopped`, () =>
    inTempDir(async (dir) => {
      const descriptors = openDescriptors(dir);
      const file = path.join(dir, "file");
      await assertRejects(() => atomicWrite(file, make()), TypeError, "Chunk must be");
      assertEquals([list(dir), openDescriptors(dir)], [[], descriptors]);
    }));
}

test("atomicWrite() cancels the source when the target is refused", () =>
  inTempDir(async (dir) => {
    let cancelled = false;
    const stream = new ReadableStream<Uint8Array>({ cancel: () => void (cancelled = true) });
    await assertRejects(() => atomicWrite(dir, stream), Error, "Is a directory");
    assert(cancelled);
  }));

test("atomicWrite() rejects a chunk of the wrong type", () =>
  unchanged(async (file) => {
    for (const chunk of [1, null, undefined, {}, [1, 2]]) {
      const data = (async function* () {
        yield "half";
        yield chunk;
      })() as AsyncIterable<Uint8Array>;
      await assertRejects(() => atomicWrite(file, data), TypeError, "Chunk must be");
    }
  }));

test("atomicWrite() rejects a locked ReadableStream", () =>
  unchanged(async (file) => {
    const stream = streamOf([whole]);
    stream.getReader();
    await assertRejects(() => atomicWrite(file, stream), TypeError, "nothing else reads");
  }));

const aborts: [string, (options: AtomicWriteOptions, file: string) => Promise<void>][] = [
  ["stream", (options, file) => atomicWrite(file, new ReadableStream(), options)],
  ["iterable", (options, file) =>
    atomicWrite(
      file,
      (async function* () {
        yield "half";
        await new Promise(() => {});
      })(),
      options,
    )],
];
for (const [what, write] of aborts) {
  test(`atomicWrite() rejects when aborted while its ${what} stalls`, () =>
    unchanged(async (file) => {
      const controller = new AbortController();
      const reason = new Error("enough");
      const done = assertRejects(() => write({ signal: controller.signal }, file));
      while (list(path.dirname(file)).length < 2) await new Promise((go) => setTimeout(go, 1));
      await new Promise((go) => setTimeout(go, 5));
      controller.abort(reason);
      assertStrictEquals(await done, reason);
    }));

  test(`atomicWrite() rejects when aborted before it reads its ${what}`, () =>
    unchanged(async (file) => {
      const controller = new AbortController();
      const reason = new Error("enough");
      await intercepted(({ name }) => {
        if (name === "create") controller.abort(reason);
      }, async () => {
        const { signal } = controller;
        assertStrictEquals(await assertRejects(() => write({ signal }, file)), reason);
      });
    }));
}

test("atomicWrite() can be aborted before the rename, but not after it", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const steps = [
      "lstat",
      "create",
      "file.write",
      "file.sync",
      "file.close",
      "rename",
      "directory.sync",
    ];
    // Windows cannot sync directories.
    for (const step of isWindows ? steps.slice(0, -1) : steps) {
      fs.writeFileSync(file, "old");
      const controller = new AbortController();
      const { signal } = controller;
      const reason = new Error(step);
      const error = await intercepted(({ name }) => {
        if (name === step) controller.abort(reason);
      }, async () => {
        const write = atomicWrite(file, "new", { signal, durability: "durable" });
        if (step === "rename" || step === "directory.sync") return await write;
        assertStrictEquals(await assertRejects(() => write), reason);
      });
      assert(error.some(({ name }) => name === step));
      const landed = step === "rename" || step === "directory.sync";
      assertEquals([list(dir), text(file)], [["file"], landed ? "new" : "old"]);
    }
  }));

test("atomicWrite() touches nothing when aborted before the call", () =>
  unchanged(async (file) => {
    const reason = new Error("too late");
    const signal = AbortSignal.abort(reason);
    const calls = await intercepted(() => {}, async () => {
      for (const data of ["x", streamOf([whole])]) {
        assertStrictEquals(await assertRejects(() => atomicWrite(file, data, { signal })), reason);
      }
      assertStrictEquals(await assertRejects(() => AtomicFile.open(file, { signal })), reason);
    });
    assertEquals(calls, []);
  }));

test("atomicWrite() leaves no listeners on the signal", () =>
  inTempDir(async (dir) => {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: unknown[]) => {
      listeners++;
      addEventListener.apply(signal, args as Parameters<typeof addEventListener>);
    };
    signal.removeEventListener = (...args: unknown[]) => {
      listeners--;
      removeEventListener.apply(signal, args as Parameters<typeof removeEventListener>);
    };
    await atomicWrite(path.join(dir, "a"), streamOf([whole]), { signal });
    await using file = await AtomicFile.open(path.join(dir, "b"), { signal });
    await file.commit();
    assertEquals(listeners, 0);
  }));

test("atomicWrite() combines a stream's small chunks into few system calls", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const calls = await recorded(() => atomicWrite(file, streamOf(pieces(whole, 100))));
    const writes = calls.filter(({ name }) => name === "file.write");
    // 200,008 bytes need four buffers of 64 KiB.
    assert(writes.length <= 5, `${writes.length} writes`);
    assertEquals(numberOf(fs.readFileSync(file)), 7);
  }));

test("atomicWrite() joins a surrogate pair that is split between two strings of a source", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await atomicWrite(
      file,
      (async function* () {
        yield* ["a\ud834", "\udd1eb\ud83d", "", "\ude00"];
      })(),
    );
    assertEquals(text(file), "a𝄞b😀");
    await atomicWrite(
      file,
      (async function* () {
        yield* ["\ud834", Uint8Array.of(65), "\udd1e", "\ud834"];
      })(),
    );
    assertEquals(text(file), "\ufffdA\ufffd\ufffd");
  }));

test(
  "atomicWrite() keeps the mode that its target has when a stream ends",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      await atomicWrite(
        file,
        (async function* () {
          yield "new";
          fs.chmodSync(file, 0o600);
        })(),
      );
      assertEquals([text(file), fs.statSync(file).mode & 0o777], ["new", 0o600]);
    }),
  { skip: isWindows && "Windows has no permission bits" },
);

test("atomicWrite() settles whenever it is aborted while its source stalls", () =>
  unchanged(async (file) => {
    const stalls: AsyncIterable<string> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
    };
    for (let ticks = 0; ticks < 20; ticks++) {
      const controller = new AbortController();
      const reason = new Error("enough");
      const real = runtime;
      const create = async (...args: Parameters<typeof real.async.create>) => {
        const created = await real.async.create(...args);
        (async () => {
          for (let tick = 0; tick < ticks; tick++) await undefined;
          controller.abort(reason);
        })();
        return created;
      };
      await onPlatform((real) => ({ async: { ...real.async, create } }), async () => {
        const write = atomicWrite(file, stalls, { signal: controller.signal });
        assertStrictEquals(await assertRejects(() => within(write)), reason, `${ticks} ticks`);
      });
    }
  }));

test("atomicWrite() reads a Blob again after EMFILE", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    let reads = 0;
    const arrayBuffer = () =>
      reads++ === 0
        ? Promise.reject(systemError("EMFILE"))
        : Promise.resolve(whole.slice().buffer as ArrayBuffer);
    await within(atomicWrite(file, Object.assign(blobOf(whole), { arrayBuffer })));
    assertEquals([numberOf(fs.readFileSync(file)), reads], [7, 2]);
  }));
