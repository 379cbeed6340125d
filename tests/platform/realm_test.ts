/**
 * The library in a node:vm context, which is how test runners load it. In such a context, errors,
 * signals and bytes belong to a different realm from Node's modules. Other tests use the library
 * outside such a context, with values from another realm.
 */
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import * as vm from "node:vm";
import { AtomicFile, atomicUpdate, atomicWrite, atomicWriteSync } from "../../mod.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { foreign, inBareContext, inContext } from "../support/realm.ts";
import { isBun, isDeno, isWindows, test } from "../support/test.ts";

const built = !import.meta.url.endsWith(".ts");
const skip = !built
  ? "runs on the built package"
  : (isDeno || isBun) && "requires the vm contexts of Node";

/** Returns the code of a call's error. */
async function codeOf(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return "no error";
}

test(
  "every write works in a node:vm context",
  () =>
    inTempDir(async (dir) => {
      const { lib } = inContext(false);
      const file = path.join(dir, "file");
      for (const durability of ["none", "consistent", "durable"] as const) {
        for (const mode of [undefined, 0o600]) {
          const options = { durability, ...mode && { mode } };
          // The first write creates the file; the second replaces it.
          for (const data of ["one", "two"]) {
            await lib.atomicWrite(file, data, options);
            assertEquals(text(file), data);
          }
          fs.rmSync(file);
          for (const data of ["one", "two"]) {
            lib.atomicWriteSync(file, data, options);
            assertEquals(text(file), data);
          }
          fs.rmSync(file);
        }
      }
      const draft = await lib.AtomicFile.open(file);
      await draft.write("draft");
      await draft.commit();
      assertEquals(text(file), "draft");
      await lib.atomicWrite(path.join(dir, "new"), "x", { createNew: true });
      await lib.atomicWrite(path.join(dir, "made", "file"), "x", { parents: true });
      assertEquals(list(dir), ["file", "made", "new"]);
      assertEquals((await lib.sweepTempFiles(dir, { olderThan: 0 })).length, 0);
    }),
  { skip },
);

test(
  "errors have code, step and target in a node:vm context",
  () =>
    inTempDir(async (dir) => {
      const { lib } = inContext(false);
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      assertEquals(await codeOf(() => lib.atomicWrite(file, "x", { createNew: true })), "EEXIST");
      assertEquals(await codeOf(() => lib.atomicWriteSync(dir, "x")), "EISDIR");
      assertEquals(await codeOf(() => lib.AtomicFile.open(dir)), "EISDIR");
      const missing = path.join(dir, "no", "file");
      const error = await lib.atomicWrite(missing, "x").then(() => undefined, (error) => error);
      assertEquals([error.code, error.step, error.target, error.replaced], [
        "ENOENT",
        "open",
        missing,
        false,
      ]);
      assert(error.message.includes(`'${missing}'`));
      assert(lib.isAtomicWriteError(error));
      assertEquals([list(dir), text(file)], [["file"], "old"]);
    }),
  { skip },
);

test(
  "a node:vm context accepts data, streams and signals from the main realm",
  () =>
    inTempDir(async (dir) => {
      const { lib } = inContext(false);
      const file = path.join(dir, "file");
      const bytes = new TextEncoder().encode("x");
      // deno-lint-ignore no-explicit-any
      const data: any[] = [
        bytes,
        bytes.buffer,
        new DataView(bytes.buffer),
        new Blob(["x"]),
        new Blob(["x"]).stream(),
        new Response("x").body,
        (async function* () {
          yield "x";
        })(),
        fs.createReadStream(fileURLToPath(import.meta.url), { start: 0, end: 0 }),
      ];
      for (const given of data) {
        await lib.atomicWrite(file, given);
        assertEquals(fs.statSync(file).size, 1);
        fs.rmSync(file);
      }
      lib.atomicWriteSync(file, bytes);
      const { signal } = new AbortController();
      await lib.atomicWrite(file, "signal", { signal });
      const reason = new Error("enough");
      const aborted = lib.atomicWrite(file, "x", { signal: AbortSignal.abort(reason) });
      assertStrictEquals(await aborted.then(() => undefined, (error) => error), reason);
      await lib.atomicWrite(new URL(`file://${file}`), "url");
      assertEquals(text(file), "url");
    }),
  { skip: skip || isWindows && "Windows paths are not valid URLs" },
);

test(
  "locks are released in a node:vm context without Symbol.dispose",
  () =>
    inTempDir(async (dir) => {
      const { lib, context } = inContext(false);
      // Node before 20.4 and Jest 29 lack these symbols.
      vm.runInContext("delete Symbol.dispose; delete Symbol.asyncDispose", context);
      const file = path.join(dir, "file");
      await lib.atomicUpdate(file, () => "one");
      await lib.atomicUpdate(file, (bytes) => `${new TextDecoder().decode(bytes!)} two`);
      assertEquals(text(file), "one two");
      const lock = await lib.DirLock.tryAcquire(dir);
      assert(lock !== null, "The lock is still held");
      lock!.release();
    }),
  { skip },
);

test(
  "every export works in a context whose only globals are timers, AbortController and process",
  () =>
    inTempDir(async (dir) => {
      const { lib, json } = inBareContext();
      const file = path.join(dir, "file");
      const textOf = (bytes: Uint8Array | null) => new TextDecoder().decode(bytes!);
      const uses: Record<string, () => unknown> = {
        async atomicWrite() {
          const body = () => new Response("x").body!;
          const data = [
            "x",
            new Uint8Array([120]),
            ["x"],
            new Blob(["x"]),
            body(),
            (async function* () {
              yield "x";
            })(),
          ];
          for (const each of data) {
            await lib.atomicWrite(new URL(`file://${file}`), each);
            assertEquals(text(file), "x");
          }
        },
        atomicWriteSync: () => lib.atomicWriteSync(path.join(dir, "ä".repeat(120)), "ä"),
        async AtomicFile() {
          const draft = await lib.AtomicFile.open(file);
          const writer = draft.writable.getWriter();
          await writer.write(new TextEncoder().encode("streamed"));
          await writer.close();
          await draft.commit();
          assertEquals(text(file), "streamed");
        },
        isAtomicWriteError: () => assertEquals(lib.isAtomicWriteError(new Error()), false),
        isTempName: () => assert(lib.isTempName(".a.0123456789abcdef.tmp")),
        sweepTempFiles: () => lib.sweepTempFiles(dir, { olderThan: 0 }),
        sweepTempFilesSync: () => lib.sweepTempFilesSync(dir, { olderThan: 0 }),
        async DirLock() {
          const lock = await lib.DirLock.acquire(dir);
          const waiting = lib.DirLock.acquire(dir, { timeout: 5_000 });
          lock.release();
          (await waiting).release();
          lib.DirLock.acquireSync(dir, { timeout: 5_000 }).release();
        },
        lockHolders: () => lib.lockHolders(dir),
        withDirLock: () => lib.withDirLock(dir, () => {}),
        async atomicUpdate() {
          await lib.atomicUpdate(file, () => "one");
          await lib.atomicUpdate(file, (bytes) => `${textOf(bytes)} two`);
          assertEquals(text(file), "one two");
        },
        atomicUpdateSync: () => lib.atomicUpdateSync(file, (bytes) => bytes),
        DeadlockError() {
          const lock = lib.DirLock.acquireSync(dir);
          assertThrows(() => lib.DirLock.acquireSync(dir), lib.DeadlockError);
          lock.release();
        },
        LOCK_FILE_NAME: () => assertEquals(lib.LOCK_FILE_NAME, ".aperture.lock"),
        LockLostError: () => assert(new lib.LockLostError("x").message !== ""),
        async LockTimeoutError() {
          const lock = lib.DirLock.acquireSync(dir);
          await assertRejects(() => lib.DirLock.acquire(dir, { timeout: 1 }), lib.LockTimeoutError);
          lock.release();
        },
        async JsonFileError() {
          fs.writeFileSync(file, Uint8Array.of(0xff));
          await assertRejects(() => json.readJson(file), json.JsonFileError, "UTF-8");
          fs.writeFileSync(file, "{");
          await assertRejects(() => json.readJson(file), json.JsonFileError);
        },
        writeJson: () => json.writeJson(file, { a: 1 }),
        writeJsonSync: () => json.writeJsonSync(file, { a: 1 }),
        readJson: async () => assertEquals(JSON.stringify(await json.readJson(file)), '{"a":1}'),
        readJsonSync: () => assertEquals(JSON.stringify(json.readJsonSync(file)), '{"a":1}'),
        updateJson: () => json.updateJson(file, () => ({ a: 2 })),
        updateJsonSync: () => json.updateJsonSync(file, () => ({ a: 3 })),
      };
      assertEquals(Object.keys(uses).sort(), Object.keys({ ...lib, ...json }).sort());
      for (const use of Object.values(uses)) await use();
      assertEquals(text(file).replaceAll(/\s/g, ""), '{"a":3}');
    }),
  { skip: skip || isWindows && "Windows paths are not valid URLs" },
);

test("atomicWrite() accepts bytes from another realm", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const expressions = [
      "new Uint8Array([120])",
      "new Uint8Array([120]).buffer",
      "new DataView(new Uint8Array([120]).buffer)",
    ];
    for (const expression of expressions) {
      await atomicWrite(file, foreign<Uint8Array>(expression));
      assertEquals(text(file), "x");
      fs.rmSync(file);
      atomicWriteSync(file, foreign<Uint8Array>(expression));
      assertEquals(text(file), "x");
      const draft = await AtomicFile.open(file);
      await draft.write(foreign<Uint8Array>(expression));
      await draft.write("y");
      await draft.commit();
      assertEquals(text(file), "xy");
      await atomicUpdate(file, () => foreign<Uint8Array>(expression));
      assertEquals(text(file), "x");
    }
    await atomicWrite(
      file,
      foreign<AsyncIterable<string>>("(async function* () { yield 'xyz' })()"),
    );
    assertEquals(text(file), "xyz");
  }));

test("atomicWrite() accepts shared memory from another realm", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await atomicWrite(file, foreign<Uint8Array>("new Uint8Array(new SharedArrayBuffer(3))"));
    assertEquals(fs.statSync(file).size, 3);
  }));

test("atomicWrite() rethrows an error from another realm unchanged", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const reason = foreign<Error>("Object.assign(new Error('theirs'), { code: 'EIO' })");
    const source: AsyncIterable<string> = {
      [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(reason) }),
    };
    for (
      const call of [
        () => atomicWrite(file, source),
        () => atomicUpdate(file, () => Promise.reject(reason)),
      ]
    ) {
      const error = await call().then(() => undefined, (error) => error);
      assertStrictEquals(error, reason);
      assertEquals(error.message, "theirs");
    }
    assertEquals(list(dir), []);
  }));

/** A signal like jsdom's: it behaves like an AbortSignal but is not an instance of that class. */
class OtherSignal extends EventTarget {
  aborted = false;
  reason: unknown;
  onabort: null = null;

  abort(reason: unknown): void {
    this.aborted = true;
    this.reason = reason;
    this.dispatchEvent(new Event("abort"));
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }
}

test("atomicWrite() accepts a signal from another realm", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const reason = new Error("enough");
    const make = () => new OtherSignal() as OtherSignal & AbortSignal;
    await atomicWrite(file, "x", { signal: make() });
    const aborted = make();
    aborted.abort(reason);
    assertStrictEquals(
      await assertRejects(() => atomicWrite(file, "y", { signal: aborted })),
      reason,
    );
    const later = make();
    const stalled = atomicWrite(file, new ReadableStream(), { signal: later });
    later.abort(reason);
    assertStrictEquals(await assertRejects(() => stalled), reason);
    assertEquals([list(dir), text(file)], [["file"], "x"]);
  }));

test("atomicWrite() rejects objects that only resemble data or a signal", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    // deno-lint-ignore no-explicit-any
    const others: any[] = [{ byteLength: 3 }, { length: 1, 0: 120 }, { stream: 1 }, {
      aborted: false,
    }];
    for (const other of others) {
      await assertRejects(() => atomicWrite(file, other), TypeError);
      assertThrows(() => atomicWriteSync(file, other), TypeError);
      await assertRejects(() => atomicWrite(file, "x", { signal: other }), TypeError);
    }
    assertEquals(list(dir), []);
  }));
