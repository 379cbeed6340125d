/** `node:stream` streams as sources: all of their content is written, and they are destroyed. */
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { createHash } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import process from "node:process";
import { PassThrough, Readable } from "node:stream";
import { atomicUpdate, atomicWrite, type AtomicWriteOptions } from "../../mod.ts";
import { content, numberOf } from "../support/content.ts";
import { inTempDir, list, openDescriptors, text, unchanged } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { pieces } from "../support/sources.ts";
import { isDeno27, linksWork, test as anyTest, type TestOptions } from "../support/test.ts";
import { writer } from "../support/write_worker.ts";

/**
 * Defines a test that does not run on Deno 2.7, where destroying a node:fs stream during a read
 * causes an uncaught error.
 */
function test(name: string, fn: () => void | Promise<void>, options: TestOptions = {}): void {
  const skip = options.skip ||
    (isDeno27 && "destroying a node:fs stream causes an uncaught error on Deno 2.7");
  anyTest(name, fn, { ...options, skip });
}
/** Waits until a stream has released its resources. */
async function closed(stream: Readable): Promise<void> {
  assert(stream.destroyed, "The stream is not destroyed");
  if (!stream.closed) await new Promise((resolve) => stream.once("close", resolve));
}

/** Returns a stream that yields one chunk and never ends. */
function stalled(): PassThrough {
  const stream = new PassThrough();
  stream.write("half");
  return stream;
}

test(
  "atomicWrite() rejects a stream of a missing file, and the process keeps running",
  () =>
    inTempDir(async (dir) => {
      // Following this chain of links takes so long that the stream fails first.
      for (let i = 0; i < 30; i++) fs.symlinkSync(`link${i + 1}`, path.join(dir, `link${i}`));
      const child = writer("readMissing", [dir]);
      await child.says("ENOENT true");
      await child.says("ENOENT true");
      assertEquals([await child.exit(), list(dir).length], [0, 30]);
    }),
  { skip: !linksWork() && "symbolic links are not available" },
);

test("atomicWrite() rejects with the error of a stream that fails before it is read", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const reason = new Error("mine");
    const makers: (() => Readable)[] = [
      () => new PassThrough().destroy(reason),
      () => {
        const stream = stalled();
        process.nextTick(() => stream.destroy(reason));
        return stream;
      },
      () => {
        const stream = stalled();
        queueMicrotask(() => stream.destroy(reason));
        return stream;
      },
      () => {
        const stream = stalled();
        setTimeout(() => stream.destroy(reason), 5);
        return stream;
      },
    ];
    for (const make of makers) {
      const stream = make();
      // A stream that is already destroyed has emitted its error to earlier listeners.
      stream.on("error", () => {});
      assertStrictEquals(await assertRejects(() => atomicWrite(file, stream)), reason);
      await closed(stream);
    }
    assertEquals(list(dir), []);
  }));

const failing: [string, (dir: string) => [string, AtomicWriteOptions]][] = [
  ["the directory is missing", (dir) => [path.join(dir, "no", "file"), {}]],
  ["the target is a directory", (dir) => [dir, {}]],
  ["the target exists, with createNew", (dir) => [path.join(dir, "source"), { createNew: true }]],
  ["its signal is already aborted", (dir) => [
    path.join(dir, "file"),
    { signal: AbortSignal.abort() },
  ]],
];
for (const [what, make] of failing) {
  test(`atomicWrite() destroys its source stream when ${what}`, () =>
    inTempDir(async (dir) => {
      fs.writeFileSync(path.join(dir, "source"), new Uint8Array(300_000));
      const descriptors = openDescriptors(dir);
      for (let i = 0; i < 20; i++) {
        const source = fs.createReadStream(path.join(dir, "source"));
        if (i % 2 === 1) await once(source, "open");
        const [file, options] = make(dir);
        await assertRejects(() => atomicWrite(file, source, options));
        await closed(source);
      }
      assertEquals(openDescriptors(dir), descriptors);
      assertEquals(list(dir), ["source"]);
    }));
}

test("atomicWrite() destroys a stalled stream when aborted", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    const reason = new Error("enough");
    for (const delay of [0, 20]) {
      const controller = new AbortController();
      const { signal } = controller;
      const source = stalled();
      const written = assertRejects(() => atomicWrite(file, source, { signal }));
      await new Promise((resolve) => setTimeout(resolve, delay));
      controller.abort(reason);
      assertStrictEquals(await written, reason);
      await closed(source);
    }
    assertEquals([list(dir), text(file)], [["file"], "old"]);
  }));

test("atomicWrite() ends a stalled response when aborted", () =>
  inTempDir(async (dir) => {
    let gone!: () => void;
    const left = new Promise<void>((resolve) => gone = resolve);
    const server = http.createServer((_, response) => {
      response.on("close", gone);
      response.write("half");
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const controller = new AbortController();
    const { port } = server.address() as AddressInfo;
    const request = http.get({ host: "127.0.0.1", port, agent: false });
    try {
      const [response] = await once(request, "response") as [Readable];
      const { signal } = controller;
      const written = assertRejects(() =>
        atomicWrite(path.join(dir, "file"), response, { signal })
      );
      await new Promise((resolve) => setTimeout(resolve, 10));
      controller.abort();
      await written;
      await closed(response);
      await left;
    } finally {
      request.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
    assertEquals(list(dir), []);
  }));

test("atomicWrite() destroys its source stream when it cannot write", () =>
  inTempDir(async (dir) => {
    fs.writeFileSync(path.join(dir, "source"), new Uint8Array(1_000_000));
    const enospc = systemError("ENOSPC");
    const descriptors = openDescriptors(dir);
    const source = fs.createReadStream(path.join(dir, "source"));
    await intercepted(({ name }) => {
      if (name === "file.write") throw enospc;
    }, async () => {
      const error = await assertRejects(() => atomicWrite(path.join(dir, "file"), source));
      assertStrictEquals(error, enospc);
    });
    await closed(source);
    assertEquals([list(dir), openDescriptors(dir)], [["source"], descriptors]);
  }));

test("atomicWrite() destroys its source stream after a chunk of the wrong type", () =>
  inTempDir(async (dir) => {
    const source = Readable.from(["half", 1, "more"]);
    await assertRejects(() => atomicWrite(path.join(dir, "file"), source), TypeError, "Chunk must");
    await closed(source);
    assertEquals(list(dir), []);
  }));

test("atomicWrite() leaves no descriptor open when it copies a file through a stream", () =>
  inTempDir(async (dir) => {
    fs.writeFileSync(path.join(dir, "source"), content(5, 500_000));
    const descriptors = openDescriptors(dir);
    const source = fs.createReadStream(path.join(dir, "source"));
    await atomicWrite(path.join(dir, "file"), source);
    await closed(source);
    assertEquals(numberOf(fs.readFileSync(path.join(dir, "file"))), 5);
    assertEquals(openDescriptors(dir), descriptors);
  }));

const whole = content(6, 300_000);
const digest = createHash("sha256").update(whole).digest("hex");

/** Returns a stream of the complete content. */
const readable = () => Readable.from(pieces(whole, 50_000));

/** Returns a stream that is fed by another source. */
function fed(): PassThrough {
  const stream = new PassThrough();
  readable().pipe(stream);
  return stream;
}

/** Calls `fn` with a response that contains the complete content. */
async function withResponse(fn: (response: Readable) => Promise<void>): Promise<void> {
  const server = http.createServer((_, response) => void readable().pipe(response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const request = http.get({ host: "127.0.0.1", port, agent: false });
  try {
    const [response] = await once(request, "response") as [Readable];
    await fn(response);
  } finally {
    request.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

/**
 * Ways for other code to read the same stream. Each returns a function that returns the hash of the
 * data that was read.
 */
const watchers: [string, (stream: Readable) => () => Promise<string>][] = [
  ["a 'data' listener", (stream) => {
    const hash = createHash("sha256");
    stream.on("data", (chunk) => hash.update(chunk));
    return () => Promise.resolve(hash.digest("hex"));
  }],
  ["pipe()", (stream) => {
    const hash = stream.pipe(createHash("sha256"));
    return async () => {
      if (!hash.readableEnded && hash.readableLength === 0) await once(hash, "readable");
      return (hash.read() as Uint8Array & { toString(encoding: string): string }).toString("hex");
    };
  }],
];
for (const [how, watch] of watchers) {
  for (const [what, make] of [["Readable", readable], ["PassThrough", fed]] as const) {
    test(`atomicWrite() writes all of a ${what} that ${how} also reads`, () =>
      inTempDir(async (dir) => {
        for (const delay of [false, true]) {
          const source = make();
          if (delay) await new Promise((resolve) => setTimeout(resolve, 5));
          const seen = watch(source);
          await atomicWrite(path.join(dir, "file"), source);
          assertEquals(numberOf(fs.readFileSync(path.join(dir, "file"))), 6);
          assertEquals(await seen(), digest);
        }
      }));
  }

  test(`atomicWrite() writes all of a response that ${how} also reads`, () =>
    inTempDir((dir) =>
      withResponse(async (response) => {
        const seen = watch(response);
        await atomicWrite(path.join(dir, "file"), response);
        assertEquals(numberOf(fs.readFileSync(path.join(dir, "file"))), 6);
        assertEquals(await seen(), digest);
      })
    ));

  test(`atomicUpdate() writes all of a stream that ${how} also reads`, () =>
    inTempDir(async (dir) => {
      let seen!: () => Promise<string>;
      await atomicUpdate(path.join(dir, "file"), () => {
        const source = readable();
        seen = watch(source);
        return source;
      });
      assertEquals(numberOf(fs.readFileSync(path.join(dir, "file"))), 6);
      assertEquals(await seen(), digest);
    }));
}

test("atomicWrite() writes all of a stream that is also read after the call has returned", () =>
  inTempDir(async (dir) => {
    const source = readable();
    const written = atomicWrite(path.join(dir, "file"), source);
    source.on("data", () => {});
    source.resume();
    await written;
    assertEquals(numberOf(fs.readFileSync(path.join(dir, "file"))), 6);
  }));

/** Streams that have lost part of their content. */
const incomplete: [string, () => Promise<Readable>][] = [
  ["that has already passed chunks to a 'data' listener", async () => {
    const source = readable();
    await once(source, "data");
    return source.on("data", () => {});
  }],
  ["whose beginning was taken by read()", async () => {
    const source = readable();
    await once(source, "readable");
    source.read();
    return source;
  }],
  ["that was paused after its first chunk", async () => {
    const source = readable();
    await once(source, "data");
    return source.pause();
  }],
  ["that is flowing", async () => {
    const source = readable();
    await once(source, "data");
    return source;
  }],
  ["that was piped into another stream", async () => {
    const source = readable();
    source.pipe(new PassThrough());
    await once(source, "data");
    return source;
  }],
  ["that was read to its end", async () => {
    const source = readable();
    for await (const _ of source);
    return source;
  }],
  ["that another loop is reading", () => {
    const source = readable();
    (async () => {
      for await (const _ of source);
    })().catch(() => {});
    return Promise.resolve(source);
  }],
];
for (const [what, make] of incomplete) {
  test(`atomicWrite() rejects a stream ${what}`, () =>
    unchanged(async (file) => {
      const source = await make();
      await assertRejects(() => atomicWrite(file, source), TypeError, "nothing else reads");
      source.destroy();
    }));
}
