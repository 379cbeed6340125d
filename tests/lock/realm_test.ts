/**
 * Locks and updates with errors and signals from another realm, as in Jest, vitest, Electron and
 * node:vm.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { atomicUpdate, DirLock } from "../../mod.ts";
import { assertBlocks } from "../support/blocks.ts";
import { Child } from "../support/child.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { foreign, inContext } from "../support/realm.ts";
import { intercepted } from "../support/runtime.ts";
import { isBun, isDeno, test } from "../support/test.ts";
import { within } from "../support/within.ts";
import "../support/no_dispose_worker.ts";

const skip = (isDeno || isBun) && "Jest and vitest run on Node";

for (const buffers of [false, true]) {
  const where = buffers ? "a context with the host's buffers" : "a bare context";

  test(`Locks and updates work in ${where}`, () =>
    inTempDir(async (dir) => {
      const { atomicUpdate, atomicUpdateSync, DirLock, LockTimeoutError, withDirLock } =
        inContext(buffers).lib;
      const counter = path.join(dir, "deep", "counter");
      const increment = (bytes: Uint8Array | null) => {
        return String(bytes === null ? 1 : Number(new TextDecoder().decode(bytes)) + 1);
      };
      await Promise.all(Array.from({ length: 10 }, () => atomicUpdate(counter, increment)));
      atomicUpdateSync(counter, increment);
      assertEquals(text(counter), "11");
      const locked = path.join(dir, "locked");
      const lock = await DirLock.acquire(locked);
      assertEquals([await DirLock.tryAcquire(locked), DirLock.tryAcquireSync(locked)], [
        null,
        null,
      ]);
      await assertRejects(() => DirLock.acquire(locked, { timeout: 5 }), LockTimeoutError);
      lock.release();
      assertEquals(await withDirLock(locked, (lock) => lock.released), false);
      DirLock.acquireSync(locked).release();
    }), { skip });

  test(
    `Locks and updates report errors with their code in ${where}`,
    () =>
      inTempDir(async (dir) => {
        const { atomicUpdate, DirLock } = inContext(buffers).lib;
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        const failures: [() => Promise<unknown>, string][] = [
          [() => DirLock.acquire(file), "ENOTDIR"],
          [() => atomicUpdate(dir, () => "x"), "EISDIR"],
          [() => atomicUpdate(file, () => "x", { createNew: true }), "EEXIST"],
        ];
        for (const [call, code] of failures) {
          const error = await call().then(() => undefined, (error) => error);
          assertEquals(error?.code, code);
          assert(/^Cannot (lock|update|write) '/.test(error.message), error.message);
        }
        assertEquals([list(dir), text(file)], [["file"], "old"]);
      }),
    { skip },
  );

  test(
    `DirLock.acquire() reacts to the host's signals in ${where}`,
    () =>
      inTempDir(async (dir) => {
        const library = inContext(buffers).lib;
        const held = await library.DirLock.acquire(dir);
        const controller = new AbortController();
        const waiting = library.DirLock.acquire(dir, { signal: controller.signal });
        const gone = waiting.then(() => undefined, (reason) => reason);
        const reason = new Error("enough");
        assertEquals(await assertBlocks(within(gone), () => controller.abort(reason)), reason);
        held.release();
      }),
    { skip },
  );
}

/** Creates an error in another realm that looks like one from a failed system call. */
function foreignError(code: string): Error {
  const error = foreign<Error>(`new Error(${JSON.stringify(`${code}: injected`)})`);
  assert(!(error instanceof Error));
  return Object.assign(error, { code });
}

test("DirLock.acquire() retries after an EINTR error from another realm", () =>
  inTempDir(async (dir) => {
    let interrupts = 3;
    await intercepted(({ name }) => {
      if (name === "lock.tryLock" && interrupts-- > 0) throw foreignError("EINTR");
    }, async () => (await DirLock.acquire(dir)).release());
    assertEquals(interrupts, -1);
  }));

test("DirLock.acquire() opens the lock file for reading after an EACCES error from another realm", () =>
  inTempDir(async (dir) => {
    const calls = await intercepted(({ name, args }) => {
      if (name === "openLock" && args[1] === "read-write") throw foreignError("EACCES");
    }, async () => (await DirLock.acquire(dir)).release());
    const opened = calls.filter(({ name }) => name === "openLock").map(({ args }) => args[1]);
    assertEquals(opened.slice(-2), ["read-write", "read"]);
  }));

test("DirLock.acquire() reports missing lock support after an ENOLCK error from another realm", () =>
  inTempDir((dir) =>
    intercepted(({ name }) => {
      if (name === "lock.tryLock") throw foreignError("ENOLCK");
    }, async () => {
      const error = await DirLock.acquire(dir).then(() => undefined, (error) => error);
      assert(error?.message.includes("does not support locks"), error?.message);
      assertEquals(error.code, "ENOLCK");
    }).then(() => {})
  ));

test("DirLock.acquire() waits for a descriptor after an EMFILE error from another realm", () =>
  inTempDir(async (dir) => {
    let failures = 3;
    await intercepted(({ name }) => {
      if (name === "openLock" && failures-- > 0) throw foreignError("EMFILE");
    }, async () => (await DirLock.acquire(dir)).release());
    assertEquals(failures, -1);
  }));

/** A signal like jsdom's: it is not an instance of this realm's AbortSignal or EventTarget. */
class ForeignSignal {
  aborted = false;
  reason: unknown = undefined;
  readonly #events = new EventTarget();

  addEventListener(type: string, listener: EventListener, options?: AddEventListenerOptions): void {
    this.#events.addEventListener(type, listener, options);
  }

  removeEventListener(type: string, listener: EventListener): void {
    this.#events.removeEventListener(type, listener);
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  abort(reason: unknown): void {
    this.aborted = true;
    this.reason = reason;
    this.#events.dispatchEvent(new Event("abort"));
  }

  get [Symbol.toStringTag](): string {
    return "AbortSignal";
  }
}

test("DirLock.acquire() gives up when a signal from another realm is aborted", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const foreignSignal = new ForeignSignal();
    const signal = foreignSignal as unknown as AbortSignal;
    const rejected = assertRejects(() => DirLock.acquire(dir, { signal }), Error, "enough");
    await within(assertBlocks(rejected, () => foreignSignal.abort(new Error("enough"))));
    await assertRejects(() => DirLock.acquire(dir, { signal }), Error, "enough");
    held.release();
  }));

test("atomicUpdate() rejects when a signal from another realm is aborted", () =>
  inTempDir(async (dir) => {
    const foreignSignal = new ForeignSignal();
    const signal = foreignSignal as unknown as AbortSignal;
    const file = path.join(dir, "file");
    await atomicUpdate(file, () => "one", { signal });
    await atomicUpdate(file, () => "two", { signal, lock: { timeout: 60_000 } });
    foreignSignal.abort(new Error("enough"));
    await assertRejects(() => atomicUpdate(file, () => "three", { signal }), Error, "enough");
    assertEquals(text(file), "two");
  }));

test("atomicUpdate() writes bytes and promises from another realm", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await atomicUpdate(file, () => foreign<Uint8Array>("new Uint8Array([111, 110, 101])"));
    assertEquals(text(file), "one");
    await atomicUpdate(file, () => foreign<Promise<string>>('Promise.resolve("two")'));
    assertEquals(text(file), "two");
  }));

test("Locks and updates release their locks when Symbol.dispose is missing", () =>
  inTempDir(async (dir) => {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const url = new URL(`../support/no_dispose_worker.${extension}`, import.meta.url);
    const deno = ["run", "-A", "--quiet", ...JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]")];
    const worker = [process.execPath, ...(isDeno ? deno : []), fileURLToPath(url)];
    const child = new Child("withoutDispose", [dir], { worker });
    await child.says("undefined undefined");
    await child.says("free");
    assertEquals(await child.exit(), 0);
    assertEquals(text(path.join(dir, "file")), "one, two");
    assertEquals(text(path.join(dir, "stream")), "three");
  }));
