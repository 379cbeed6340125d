import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import {
  atomicUpdate,
  atomicUpdateSync,
  atomicWrite,
  DeadlockError,
  DirLock,
  LOCK_FILE_NAME,
  LockTimeoutError,
} from "../../mod.ts";
import { runtime } from "../../runtime/mod.ts";
import { assertBlocks } from "../support/blocks.ts";
import { Child } from "../support/child.ts";
import { blobOf } from "../support/content.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { recorded } from "../support/runtime.ts";
import { isWindows, test, testWithLinks } from "../support/test.ts";
import { within } from "../support/within.ts";
import "../support/worker.ts";

const decode = (bytes: Uint8Array | null) => bytes && new TextDecoder().decode(bytes);
const increment = (bytes: Uint8Array | null) => String(Number(decode(bytes) ?? 0) + 1);

/** An error with a code. */
type Coded = Error & { code?: string };

/** Both forms of the call, with the synchronous form wrapped in a promise. */
const FORMS: {
  form: "atomicUpdate" | "atomicUpdateSync";
  update: (...args: Parameters<typeof atomicUpdateSync>) => Promise<void>;
}[] = [
  { form: "atomicUpdate", update: (...args) => atomicUpdate(...args) },
  {
    form: "atomicUpdateSync",
    update: (...args) => Promise.resolve().then(() => atomicUpdateSync(...args)),
  },
];

for (const { form, update } of FORMS) {
  test(`${form}() passes the content to its function and writes the result`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await update(file, (bytes) => {
        assertEquals(bytes, null);
        return "one";
      });
      await update(file, (bytes) => `${decode(bytes)}, two`);
      await update(file, (bytes) => new TextEncoder().encode(`${decode(bytes)}, three`));
      assertEquals(text(file), "one, two, three");
      assertEquals(list(dir), ["file"]);
    }));

  test(`${form}() passes a plain Uint8Array to its function`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "x");
      let prototype: unknown;
      await update(file, (bytes) => {
        prototype = Object.getPrototypeOf(bytes);
        return null;
      });
      assertStrictEquals(prototype, Uint8Array.prototype);
    }));

  test(`${form}() leaves the file unchanged when its function returns null`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await update(file, () => null);
      assertEquals(list(dir), []);
      fs.writeFileSync(file, "old");
      const calls = await recorded(() => update(file, () => null));
      assert(!calls.some(({ name }) => name === "rename"));
      assertEquals(text(file), "old");
    }));

  test(`${form}() reports a missing return when its function returns undefined`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      // @ts-expect-error A return is missing.
      await assertRejects(() => update(file, () => {}), TypeError, "missing 'return'?");
      assertEquals([list(dir), text(file)], [["file"], "old"]);
      (await DirLock.tryAcquire(dir))!.release();
    }));

  test(`${form}() changes nothing when its function throws`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      const reason = new Error("mine");
      const error = await assertRejects(() =>
        update(file, () => {
          throw reason;
        })
      );
      assertStrictEquals(error, reason);
      assertEquals([list(dir), text(file)], [["file"], "old"]);
      (await DirLock.tryAcquire(dir))!.release();
    }));

  test(`${form}() holds the lock on the file's directory while its function runs`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await update(file, () => DirLock.tryAcquireSync(dir) === null ? "held" : "free");
      assertEquals(text(file), "held");
      (await DirLock.tryAcquire(dir))!.release();
    }));

  test(`${form}() uses a held lock and does not release it`, () =>
    inTempDir(async (dir) => {
      const lock = await DirLock.acquire(dir);
      await update(path.join(dir, "file"), () => "x", { lock });
      assertEquals([text(path.join(dir, "file")), lock.released], ["x", false]);
      lock.release();
    }));

  test(`${form}() accepts a held lock with another name in the file's directory`, () =>
    inTempDir(async (dir) => {
      const lock = await DirLock.acquire(dir, { lockFileName: "another" });
      await update(path.join(dir, "file"), () => "x", { lock });
      assertEquals(list(dir), ["another", "file"]);
      lock.release();
    }));

  testWithLinks(
    `${form}() accepts a held lock that was acquired through another path`,
    () =>
      inTempDir(async (root) => {
        fs.mkdirSync(path.join(root, "dir"));
        fs.symlinkSync("dir", path.join(root, "alias"));
        const lock = await DirLock.acquire(path.join(root, "alias"));
        await update(path.join(root, "dir", "file"), () => "x", { lock });
        assertEquals(text(path.join(root, "dir", "file")), "x");
        lock.release();
      }),
  );

  test(`${form}() passes on the options for the lock`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      DirLock.acquireSync(dir).release();
      // Hold the lock through a descriptor that the queues do not know about, as if another process
      // held it.
      const held = runtime.openLock(path.join(dir, LOCK_FILE_NAME), "read-write");
      assert(held.tryLock(true));
      await assertRejects(
        () => update(file, () => "x", { lock: { timeout: 5 } }),
        LockTimeoutError,
      );
      await update(file, () => "x", { lock: { lockFileName: "another" } });
      assertEquals(list(dir), ["another", "file"]);
      held.close();
    }));

  test(`${form}() rejects a shared or released lock`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const lock = await DirLock.acquire(dir, { shared: true });
      await assertRejects(() => update(file, () => "x", { lock }), RangeError, "exclusive");
      lock.release();
      await assertRejects(() => update(file, () => "x", { lock }), RangeError, "released");
      await assertRejects(
        // @ts-expect-error The types also reject such an object.
        () => update(file, () => "x", { lock: { shared: true } }),
        RangeError,
        "exclusive",
      );
      assertEquals(list(dir), []);
    }));

  test(`${form}() rejects a lock on another directory before it calls its function`, () =>
    inTempDir(async (root) => {
      const lock = await DirLock.acquire(path.join(root, "other"));
      let called = false;
      fs.mkdirSync(path.join(root, "dir"));
      await assertRejects(
        () => update(path.join(root, "dir", "file"), () => (called = true, "x"), { lock }),
        RangeError,
      );
      assertEquals([called, fs.readdirSync(path.join(root, "dir")), lock.released], [
        false,
        [],
        false,
      ]);
      lock.release();
    }));

  test(`${form}() writes nothing when its lock is released while its function runs`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      const lock = await DirLock.acquire(dir);
      await assertRejects(() => update(file, () => (lock.release(), "new"), { lock }), Error);
      assertEquals([list(dir), text(file)], [["file"], "old"]);
    }));

  testWithLinks(
    `${form}() locks the directory of a link's target`,
    () =>
      inTempDir(async (dir) => {
        fs.mkdirSync(path.join(dir, "real"));
        fs.mkdirSync(path.join(dir, "links"));
        fs.symlinkSync("../real/file", path.join(dir, "links", "link"));
        await update(path.join(dir, "links", "link"), () => "x");
        assertEquals(fs.readdirSync(path.join(dir, "links")), ["link"]);
        assertEquals(fs.readdirSync(path.join(dir, "real")).sort(), [LOCK_FILE_NAME, "file"]);
      }),
  );

  testWithLinks(
    `${form}() with createNew fails with EEXIST when the path is a dangling link`,
    () =>
      inTempDir(async (dir) => {
        fs.symlinkSync("target", path.join(dir, "link"));
        const error = await assertRejects(
          () => update(path.join(dir, "link"), () => "x", { createNew: true }),
          Error,
        );
        assertEquals([(error as Coded).code, list(dir)], ["EEXIST", ["link"]]);
        (await DirLock.tryAcquire(dir))!.release();
      }),
  );

  testWithLinks(
    `${form}() does not block when it replaces a link to a FIFO`,
    () =>
      inTempDir(async (dir) => {
        assertEquals(spawnSync("mkfifo", [path.join(dir, "fifo")]).status, 0);
        fs.symlinkSync("fifo", path.join(dir, "link"));
        const job = form === "atomicUpdate" ? "async" : "sync";
        const child = new Child("updateFifo", [path.join(dir, "link"), job]);
        try {
          await within(child.says("ended"), 10);
          (await DirLock.tryAcquire(dir))!.release();
        } finally {
          await child.kill();
        }
        assert(fs.lstatSync(path.join(dir, "fifo")).isFIFO());
      }),
  );

  testWithLinks(
    `${form}() does not follow a link that replaced its file while its function ran`,
    () =>
      inTempDir(async (dir) => {
        for (const name of ["a", "b"]) fs.mkdirSync(path.join(dir, name));
        const [file, moved] = ["a", "b"].map((name) => path.join(dir, name, "counter"));
        fs.writeFileSync(file!, "0");
        const error = await assertRejects(
          () =>
            update(file!, (bytes) => {
              fs.renameSync(file!, moved!);
              fs.symlinkSync(moved!, file!);
              atomicUpdateSync(moved!, increment);
              return increment(bytes);
            }),
          Error,
          "replaced by a link to another file",
        );
        assertEquals([(error as Coded).code, text(moved!)], ["ESTALE", "1"]);
        assertEquals(list(path.join(dir, "b")), ["counter"]);
      }),
  );

  test(`${form}() rejects the file to update as its lock file`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const message = "'lock' must not use";
      const lock = { lockFileName: "file" };
      await assertRejects(() => update(file, increment, { lock }), RangeError, message);
      assertEquals(list(dir), []);
      fs.writeFileSync(file, "0");
      using held = DirLock.acquireSync(dir, lock);
      await assertRejects(() => update(file, increment, { lock: held }), RangeError, message);
      assertEquals(text(file), "0");
    }));

  test(`${form}() rejects a path that ends with a separator and creates no directory`, () =>
    inTempDir(async (dir) => {
      // Windows removes trailing dots.
      for (const end of isWindows ? [""] : ["", ".", ".."]) {
        const error = await assertRejects(() => update(`${dir}/new/${end}`, increment), Error);
        assertEquals([(error as Coded).code, list(dir)], ["EISDIR", []], end);
      }
    }));

  test(`${form}() creates a missing directory`, () =>
    inTempDir(async (dir) => {
      await update(path.join(dir, "a", "b", "file"), () => "x");
      assertEquals(text(path.join(dir, "a", "b", "file")), "x");
    }));

  test(
    `${form}() rejects a directory before it calls its function`,
    () =>
      inTempDir(async (dir) => {
        let called = false;
        const error = await assertRejects(
          () => update(dir, () => (called = true, "x")),
          Error,
          `Cannot update '${dir}'`,
        );
        assertEquals([(error as Coded).code, called], ["EISDIR", false]);
      }),
    { skip: isWindows && "error codes differ on Windows" },
  );

  test(`${form}() reads what an earlier write wrote`, () =>
    inTempDir(async (dir) => {
      for (let round = 0; round < 50; round++) {
        const file = path.join(dir, String(round));
        const write = atomicWrite(file, "written", { durability: "none" });
        const updated = update(file, (bytes) => `${decode(bytes)}, updated`, {
          durability: "none",
        });
        await Promise.all([write, updated]);
        assertEquals(text(file), "written, updated");
      }
    }));
}

test("atomicUpdate() writes a Blob, or what a promise resolves to", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await atomicUpdate(file, () => Promise.resolve("one"));
    await atomicUpdate(file, (bytes) => blobOf(bytes!, ", two"));
    await atomicUpdate(file, () => Promise.resolve(null));
    assertEquals(text(file), "one, two");
  }));

test("atomicUpdate() loses none of 100 concurrent updates", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "counter");
    await Promise.all(Array.from({ length: 100 }, () => {
      return atomicUpdate(file, increment, { durability: "none" });
    }));
    assertEquals(text(file), "100");
  }));

test("atomicUpdate() runs 50 concurrent updates in the order of their calls", () =>
  inTempDir(async (dir) => {
    const expected = Array.from({ length: 50 }, (_, i) => `${i} `).join("");
    for (let round = 0; round < 5; round++) {
      const file = path.join(dir, String(round));
      await Promise.all(Array.from({ length: 50 }, (_, i) => {
        const append = (bytes: Uint8Array | null) => `${decode(bytes) ?? ""}${i} `;
        return atomicUpdate(file, append, { durability: "none" });
      }));
      assertEquals(text(file), expected);
    }
  }));

test("atomicUpdate() does not block writes to the same file while its function runs", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await within(atomicUpdate(file, async (bytes) => {
      if (bytes === null) await atomicWrite(file, "written");
      return `${decode(bytes)}, updated`;
    }));
    assertEquals(text(file), "written, updated");
  }));

testWithLinks(
  "atomicUpdate() follows a link to another directory once it holds the lock",
  () =>
    inTempDir(async (root) => {
      const [one, two] = ["one", "two"].map((name) => path.join(root, name)) as [string, string];
      for (const dir of [one, two]) {
        fs.mkdirSync(dir);
        fs.writeFileSync(path.join(dir, "file"), path.basename(dir));
      }
      const link = path.join(root, "link");
      fs.symlinkSync("one/file", link);
      const held = await DirLock.acquire(one);
      let locks: boolean[] = [];
      const update = atomicUpdate(link, async (bytes) => {
        const free = [await DirLock.tryAcquire(one), await DirLock.tryAcquire(two)];
        free.forEach((lock) => lock?.release());
        locks = free.map((lock) => lock !== null);
        return `${decode(bytes)} updated`;
      });
      await assertBlocks(update, () => {
        fs.unlinkSync(link);
        fs.symlinkSync("two/file", link);
        held.release();
      });
      assertEquals(locks, [true, false]);
      assertEquals([text(path.join(one, "file")), text(path.join(two, "file"))], [
        "one",
        "two updated",
      ]);
      for (const dir of [one, two]) (await DirLock.tryAcquire(dir))!.release();
    }),
);

testWithLinks(
  "atomicUpdate() follows a link within a directory once it holds the lock",
  () =>
    inTempDir(async (dir) => {
      for (const name of ["one", "two"]) fs.writeFileSync(path.join(dir, name), name);
      const link = path.join(dir, "link");
      fs.symlinkSync("one", link);
      const held = await DirLock.acquire(dir);
      const update = atomicUpdate(link, (bytes) => `${decode(bytes)} updated`);
      await assertBlocks(update, () => {
        fs.unlinkSync(link);
        fs.symlinkSync("two", link);
        held.release();
      });
      assertEquals([text(path.join(dir, "one")), text(path.join(dir, "two"))], [
        "one",
        "two updated",
      ]);
    }),
);

test("atomicUpdateSync() throws a TypeError when its function returns a promise", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    // @ts-expect-error A promise is returned.
    await assertRejects(() => FORMS[1]!.update(file, () => Promise.resolve("new")), TypeError);
    // @ts-expect-error A promise is returned.
    await assertRejects(() => FORMS[1]!.update(file, () => Promise.resolve(null)), TypeError);
    // An unhandled rejection would fail the test.
    const fails = () => Promise.reject(new Error("unhandled"));
    // @ts-expect-error A promise is returned.
    await assertRejects(() => FORMS[1]!.update(file, fails), TypeError);
    assertEquals([list(dir), text(file)], [["file"], "old"]);
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("atomicUpdateSync() throws a TypeError for a Blob or a signal", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    // @ts-expect-error A Blob is read asynchronously.
    await assertRejects(() => FORMS[1]!.update(file, () => blobOf("new")), TypeError);
    const { signal } = new AbortController();
    // @ts-expect-error A synchronous call cannot be aborted.
    await assertRejects(() => FORMS[1]!.update(file, () => "new", { signal }), TypeError);
    assertEquals([list(dir), text(file)], [["file"], "old"]);
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("atomicUpdateSync() throws a DeadlockError inside an update that holds the lock", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const inner = () => atomicUpdateSync(file, () => "inner");
    assertThrows(() => atomicUpdateSync(file, () => (inner(), "outer")), DeadlockError);
    await assertRejects(() => atomicUpdate(file, () => (inner(), "outer")), DeadlockError);
    assertEquals(list(dir), []);
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("atomicUpdateSync() first completes earlier writes and settles their promises", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const first = atomicWrite(file, "one");
    const second = atomicWrite(file, "two", { createNew: true });
    const rejected = assertRejects(() => second, Error);
    atomicUpdateSync(file, (bytes) => `${decode(bytes)}, updated`);
    assertEquals(text(file), "one, updated");
    await first;
    assertEquals((await rejected as Coded).code, "EEXIST");
    assertEquals([text(file), list(dir)], ["one, updated", ["file"]]);
  }));
