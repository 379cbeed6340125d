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
import { inTempDir, list, text, unchanged } from "../support/dir.ts";
import { intercepted, recorded, systemError } from "../support/runtime.ts";
import { isWindows, test, testWithLinks } from "../support/test.ts";
import { within } from "../support/within.ts";
import "../support/worker.ts";

const decode = (bytes: Uint8Array | null) => bytes && new TextDecoder().decode(bytes);
const increment = (bytes: Uint8Array | null) => String(Number(decode(bytes) ?? 0) + 1);

/** An error with its code. */
type Coded = Error & { code?: string };

/** Both forms, the sync one as a promise. */
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
  test(`${form}() hands on the content and writes what comes back`, () =>
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

  test(`${form}() hands on a plain Uint8Array`, () =>
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

  test(`${form}() leaves the file as it is when null comes back`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await update(file, () => null);
      assertEquals(list(dir), []);
      fs.writeFileSync(file, "old");
      const calls = await recorded(() => update(file, () => null));
      assert(!calls.some(({ name }) => name === "rename"));
      assertEquals(text(file), "old");
    }));

  test(`${form}() rejects what is no data, such as a forgotten return`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      // @ts-expect-error Nothing is returned.
      await assertRejects(() => update(file, () => {}), TypeError, "'return' is missing");
      assertEquals([list(dir), text(file)], [["file"], "old"]);
      (await DirLock.tryAcquire(dir))!.release();
    }));

  test(`${form}() changes nothing when the function throws`, () =>
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

  test(`${form}() holds the lock of the file's directory meanwhile`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await update(file, () => DirLock.tryAcquireSync(dir) === null ? "held" : "free");
      assertEquals(text(file), "held");
      (await DirLock.tryAcquire(dir))!.release();
    }));

  test(`${form}() works under a lock that is held, and leaves it held`, () =>
    inTempDir(async (dir) => {
      const lock = await DirLock.acquire(dir);
      await update(path.join(dir, "file"), () => "x", { lock });
      assertEquals([text(path.join(dir, "file")), lock.released], ["x", false]);
      lock.release();
    }));

  test(`${form}() works under a lock of another name, if that is in the file's directory`, () =>
    inTempDir(async (dir) => {
      const lock = await DirLock.acquire(dir, { lockFileName: "another" });
      await update(path.join(dir, "file"), () => "x", { lock });
      assertEquals(list(dir), ["another", "file"]);
      lock.release();
    }));

  testWithLinks(
    `${form}() works under a lock that was acquired by another path`,
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

  test(`${form}() acquires the lock as it is told`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      DirLock.acquireSync(dir).release();
      // By a descriptor that no queue knows of, as another process holds it.
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

  test(`${form}() refuses a lock that does not keep others out`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const lock = await DirLock.acquire(dir, { shared: true });
      await assertRejects(() => update(file, () => "x", { lock }), RangeError, "exclusive");
      lock.release();
      await assertRejects(() => update(file, () => "x", { lock }), RangeError, "released");
      await assertRejects(
        // @ts-expect-error It is not among the options either.
        () => update(file, () => "x", { lock: { shared: true } }),
        RangeError,
        "exclusive",
      );
      assertEquals(list(dir), []);
    }));

  test(`${form}() refuses the lock of another directory before it calls the function`, () =>
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

  test(`${form}() writes nothing when its lock is released meanwhile`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      const lock = await DirLock.acquire(dir);
      await assertRejects(() => update(file, () => (lock.release(), "new"), { lock }), Error);
      assertEquals([list(dir), text(file)], [["file"], "old"]);
    }));

  testWithLinks(
    `${form}() locks the directory of the file that a link points to`,
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
    `${form}() with createNew is EEXIST at a link that dangles`,
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
    `${form}() that replaces a link to a FIFO does not wait for a writer of it`,
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
    `${form}() does not follow a link that its file became meanwhile`,
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
          "became a link to another file",
        );
        assertEquals([(error as Coded).code, text(moved!)], ["ESTALE", "1"]);
        assertEquals(list(path.join(dir, "b")), ["counter"]);
      }),
  );

  test(`${form}() refuses to lock by the file itself`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const message = "'lock' must be that of another file";
      const lock = { lockFileName: "file" };
      await assertRejects(() => update(file, increment, { lock }), RangeError, message);
      assertEquals(list(dir), []);
      fs.writeFileSync(file, "0");
      using held = DirLock.acquireSync(dir, lock);
      await assertRejects(() => update(file, increment, { lock: held }), RangeError, message);
      assertEquals(text(file), "0");
    }));

  test(`${form}() refuses a path that only a directory can have, and makes none`, () =>
    inTempDir(async (dir) => {
      // Windows takes dots away before it looks.
      for (const end of isWindows ? [""] : ["", ".", ".."]) {
        const error = await assertRejects(() => update(`${dir}/new/${end}`, increment), Error);
        assertEquals([(error as Coded).code, list(dir)], ["EISDIR", []], end);
      }
    }));

  test(`${form}() creates the directory`, () =>
    inTempDir(async (dir) => {
      await update(path.join(dir, "a", "b", "file"), () => "x");
      assertEquals(text(path.join(dir, "a", "b", "file")), "x");
    }));

  test(
    `${form}() refuses a directory before it calls the function`,
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
    { skip: isWindows && "other codes on Windows" },
  );

  test(`${form}() sees what a write called before it wrote`, () =>
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

test("atomicUpdate() writes a Blob and what a promise brings", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await atomicUpdate(file, () => Promise.resolve("one"));
    await atomicUpdate(file, (bytes) => blobOf(bytes!, ", two"));
    await atomicUpdate(file, () => Promise.resolve(null));
    assertEquals(text(file), "one, two");
  }));

test("atomicUpdate() loses none of 100 updates at once", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "counter");
    await Promise.all(Array.from({ length: 100 }, () => {
      return atomicUpdate(file, increment, { durability: "none" });
    }));
    assertEquals(text(file), "100");
  }));

test("atomicUpdate() runs 50 updates at once in the order of their calls", () =>
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

testWithLinks(
  "atomicUpdate() loses none of 20 updates that are handed one held lock",
  () =>
    inTempDir(async (dir) => {
      fs.symlinkSync("counter", path.join(dir, "link"));
      const lock = await DirLock.acquire(dir);
      await Promise.all(Array.from({ length: 20 }, (_, i) => {
        const file = path.join(dir, i % 2 === 0 ? "counter" : "link");
        return atomicUpdate(file, async (bytes) => {
          await new Promise((resolve) => setTimeout(resolve, 0));
          return increment(bytes);
        }, { lock, durability: "none" });
      }));
      assertEquals(text(path.join(dir, "counter")), "20");
      lock.release();
    }),
);

test("atomicUpdate() of two files under one held lock need not wait for each other", () =>
  inTempDir(async (dir) => {
    const lock = await DirLock.acquire(dir);
    await within(atomicUpdate(path.join(dir, "one"), async () => {
      await atomicUpdate(path.join(dir, "two"), () => "2", { lock });
      return "1";
    }, { lock }));
    assertEquals([text(path.join(dir, "one")), text(path.join(dir, "two"))], ["1", "2"]);
    lock.release();
  }));

test("atomicUpdate() keeps no write of its path waiting while the function works", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await within(atomicUpdate(file, async (bytes) => {
      if (bytes === null) await atomicWrite(file, "written");
      return `${decode(bytes)}, updated`;
    }));
    assertEquals(text(file), "written, updated");
  }));

testWithLinks(
  "atomicUpdate() follows a link once it has the lock, to another directory too",
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
  "atomicUpdate() follows a link once it has the lock, within a directory",
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

test("atomicUpdate() gives up the wait for the lock when aborted", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const controller = new AbortController();
    const { signal } = controller;
    const update = atomicUpdate(path.join(dir, "file"), () => "x", { signal });
    const rejected = assertRejects(() => update, Error, "enough");
    await assertBlocks(rejected, () => controller.abort(new Error("enough")));
    assertEquals(list(dir), []);
    held.release();
  }));

for (
  const [what, lock] of [
    ["another signal", { signal: new AbortController().signal }],
    ["an absent signal", { signal: undefined }],
    ["a timeout", { timeout: 60_000 }],
  ] as [string, { signal: AbortSignal }][]
) {
  test(`atomicUpdate() honours its signal beside a lock with ${what}`, () =>
    inTempDir(async (dir) => {
      const held = await DirLock.acquire(dir);
      const controller = new AbortController();
      const { signal } = controller;
      const update = atomicUpdate(path.join(dir, "file"), () => "x", { signal, lock });
      const rejected = within(assertRejects(() => update, Error, "enough"));
      try {
        await assertBlocks(rejected, () => controller.abort(new Error("enough")));
      } finally {
        held.release();
        await update.catch(() => {});
      }
      assertEquals(list(dir), []);
    }));
}

test("atomicUpdate() honours the signal of its lock's options", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const controller = new AbortController();
    const update = atomicUpdate(path.join(dir, "file"), () => "x", {
      signal: new AbortController().signal,
      lock: { signal: controller.signal },
    });
    const rejected = within(assertRejects(() => update, Error, "enough"));
    await assertBlocks(rejected, () => controller.abort(new Error("enough")));
    held.release();
  }));

test("atomicUpdate() does not write when aborted while the function works", () =>
  inTempDir(async (dir) => {
    const controller = new AbortController();
    const { signal } = controller;
    const update = atomicUpdate(path.join(dir, "file"), () => {
      controller.abort(new Error("enough"));
      return "x";
    }, { signal });
    await assertRejects(() => update, Error, "enough");
    // It is told at once, and then goes on to free the lock.
    (await DirLock.acquire(dir)).release();
    assertEquals(list(dir), []);
  }));

test("atomicUpdate() that is aborted rejects at once, and has the lock until its function ends", () =>
  inTempDir(async (dir) => {
    for (const isHeld of [false, true]) {
      using lock = isHeld ? DirLock.acquireSync(dir) : undefined;
      const file = path.join(dir, "file");
      const controller = new AbortController();
      const reason = new Error("enough");
      let end!: (data: string) => void;
      const aborted = atomicUpdate(file, () => {
        controller.abort(reason);
        return new Promise<string>((resolve) => end = resolve);
      }, { signal: controller.signal, ...lock && { lock } });
      assertStrictEquals(await assertRejects(() => within(aborted)), reason);
      assertEquals(DirLock.tryAcquireSync(dir), null);
      let seen: string | null = "";
      const next = atomicUpdate(file, (bytes) => (seen = decode(bytes), null), lock && { lock });
      await assertBlocks(next, () => end("late"));
      assertEquals([seen, list(dir)], [null, []]);
    }
  }));

test("atomicUpdate() does not call its function when aborted while it reads", () =>
  unchanged(async (file) => {
    const controller = new AbortController();
    const reason = new Error("enough");
    let called = false;
    await intercepted(({ name }) => {
      if (name === "readFile") controller.abort(reason);
    }, async () => {
      const fn = () => (called = true, "new");
      const updated = atomicUpdate(file, fn, { signal: controller.signal });
      assertStrictEquals(await assertRejects(() => updated), reason);
    });
    assert(!called);
  }));

test("atomicUpdate() without a free descriptor gives up when its signal says so", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    await intercepted(({ form, name }) => {
      if (form === "async" && /^(readFile|open|create|writeNew)$/.test(name)) {
        throw systemError("EMFILE");
      }
    }, async () => {
      const controller = new AbortController();
      const update = atomicUpdate(file, () => "new", { signal: controller.signal });
      const rejected = assertRejects(() => update, Error, "enough");
      await within(assertBlocks(rejected, () => controller.abort(new Error("enough"))));
    });
    assertEquals([list(dir), text(file)], [["file"], "old"]);
  }));

test("atomicUpdateSync() throws a TypeError when a promise comes back", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    // @ts-expect-error A promise is returned.
    await assertRejects(() => FORMS[1]!.update(file, () => Promise.resolve("new")), TypeError);
    // @ts-expect-error A promise is returned.
    await assertRejects(() => FORMS[1]!.update(file, () => Promise.resolve(null)), TypeError);
    // Nobody hears of this one's failure, which must not end the program.
    const fails = () => Promise.reject(new Error("unheard"));
    // @ts-expect-error A promise is returned.
    await assertRejects(() => FORMS[1]!.update(file, fails), TypeError);
    assertEquals([list(dir), text(file)], [["file"], "old"]);
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("atomicUpdateSync() throws a TypeError for what only a promise could bring", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    // @ts-expect-error A Blob is read asynchronously.
    await assertRejects(() => FORMS[1]!.update(file, () => blobOf("new")), TypeError);
    const { signal } = new AbortController();
    // @ts-expect-error Nothing can be aborted.
    await assertRejects(() => FORMS[1]!.update(file, () => "new", { signal }), TypeError);
    assertEquals([list(dir), text(file)], [["file"], "old"]);
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("atomicUpdateSync() throws a DeadlockError in an update that holds the lock", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const inner = () => atomicUpdateSync(file, () => "inner");
    assertThrows(() => atomicUpdateSync(file, () => (inner(), "outer")), DeadlockError);
    await assertRejects(() => atomicUpdate(file, () => (inner(), "outer")), DeadlockError);
    assertEquals(list(dir), []);
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("atomicUpdateSync() settles the writes that it carries out first", () =>
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

testWithLinks(
  "atomicUpdate() with a held lock knows a file by whatever name of its directory",
  () =>
    inTempDir(async (dir) => {
      fs.mkdirSync(path.join(dir, "real"));
      fs.symlinkSync("real", path.join(dir, "link"));
      using lock = DirLock.acquireSync(path.join(dir, "real"));
      const later = async (bytes: Uint8Array | null) => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return increment(bytes);
      };
      const names = ["real", "link", "real", "link/../real"];
      await Promise.all(
        names.map((name) => atomicUpdate(`${dir}/${name}/counter`, later, { lock })),
      );
      assertEquals(text(path.join(dir, "real", "counter")), "4");
    }),
);

testWithLinks(
  "atomicUpdate() with a held lock waits for the turn of the file that a link leads to by then",
  () =>
    inTempDir(async (dir) => {
      const [one, two, link] = ["one", "two", "link"].map((name) => path.join(dir, name));
      fs.symlinkSync("one", link!);
      using lock = DirLock.acquireSync(dir);
      let end!: () => void;
      const first = atomicUpdate(one!, async (bytes) => {
        await new Promise<void>((resolve) => end = resolve);
        return increment(bytes);
      }, { lock });
      const slowly = async (bytes: Uint8Array | null) => {
        await new Promise((resolve) => setTimeout(resolve, 10));
        return increment(bytes);
      };
      const byLink = atomicUpdate(link!, slowly, { lock });
      fs.unlinkSync(link!);
      fs.symlinkSync("two", link!);
      while (end === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
      end();
      await first;
      await Promise.all([byLink, atomicUpdate(two!, slowly, { lock })]);
      assertEquals([text(one!), text(two!)], ["1", "2"]);
    }),
);

test("atomicUpdateSync() throws a DeadlockError in one of the same file, with the same held lock", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    using lock = DirLock.acquireSync(dir);
    const inner = () => atomicUpdateSync(file, () => "inner", { lock });
    assertThrows(() => atomicUpdateSync(file, () => (inner(), "outer"), { lock }), DeadlockError);
    assertEquals(list(dir), []);
    // It is over, and one that is called meanwhile comes after it.
    let after!: Promise<void>;
    atomicUpdateSync(file, () => {
      after = atomicUpdate(file, increment, { lock });
      return "1";
    }, { lock });
    assertEquals(text(file), "1");
    await after;
    assertEquals(text(file), "2");
  }));

test("atomicUpdate() that waits for another with the same lock gives up when aborted", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const lock = await DirLock.acquire(dir);
    let go!: (data: string) => void;
    const data = new Promise<string>((resolve) => go = resolve);
    const updates = [atomicUpdate(file, () => data, { lock })];
    const controller = new AbortController();
    let called = false;
    const fn = () => (called = true, "never");
    const aborted = atomicUpdate(file, fn, { lock, signal: controller.signal });
    updates.push(atomicUpdate(file, increment, { lock }));
    const outcome = assertRejects(() => aborted, Error, "enough");
    controller.abort(new Error("enough"));
    await within(outcome, 10);
    go("1");
    await Promise.all(updates);
    assertEquals([text(file), called], ["2", false]);
    lock.release();
  }));
