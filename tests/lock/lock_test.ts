import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { pathToFileURL } from "node:url";
import {
  DeadlockError,
  DirLock,
  LOCK_FILE_NAME,
  LockTimeoutError,
  withDirLock,
} from "../../mod.ts";
import { clock } from "../../internal/base/clock.ts";
import { runtime } from "../../runtime/mod.ts";
import { inTempDir, openDescriptors } from "../support/dir.ts";
import { onPlatform } from "../support/fake.ts";
import { intercepted, recorded, systemError } from "../support/runtime.ts";
import { isDeno, isRoot, isWindows, test, testWithLinks } from "../support/test.ts";
import { assertBlocks } from "../support/blocks.ts";
import { within } from "../support/within.ts";

/** The four methods that acquire a lock. */
const FORMS = [
  { form: "acquire", acquire: DirLock.acquire.bind(DirLock) },
  {
    form: "tryAcquire",
    acquire: async (...args: Parameters<typeof DirLock.tryAcquire>) =>
      (await DirLock.tryAcquire(...args))!,
  },
  {
    form: "acquireSync",
    acquire: (...args: Parameters<typeof DirLock.acquireSync>) =>
      Promise.resolve().then(() => DirLock.acquireSync(...args)),
  },
  {
    form: "tryAcquireSync",
    acquire: (...args: Parameters<typeof DirLock.tryAcquireSync>) =>
      Promise.resolve().then(() => DirLock.tryAcquireSync(...args)!),
  },
];

for (const { form, acquire } of FORMS) {
  test(`DirLock.${form}() creates the directory and an empty lock file`, () =>
    inTempDir(async (root) => {
      const dir = path.join(root, "a", "b");
      const lock = await acquire(dir);
      assert(lock instanceof DirLock);
      assertEquals(
        [lock.dir, lock.path, lock.shared, lock.released],
        [dir, path.join(dir, LOCK_FILE_NAME), false, false],
      );
      assertEquals(fs.statSync(lock.path).size, 0);
      lock.release();
      assert(lock.released);
      assertEquals(fs.readdirSync(dir), [LOCK_FILE_NAME]);
    }));

  test(`DirLock.${form}() excludes other calls until the lock is released`, () =>
    inTempDir(async (dir) => {
      const lock = await acquire(dir);
      assertEquals(await DirLock.tryAcquire(dir), null);
      assertEquals(DirLock.tryAcquireSync(dir), null);
      assertEquals(await DirLock.tryAcquire(dir, { shared: true }), null);
      lock.release();
      (await DirLock.tryAcquire(dir))!.release();
    }));

  test(`DirLock.${form}() acquires a shared lock while all other holders share it`, () =>
    inTempDir(async (dir) => {
      const lock = await acquire(dir, { shared: true });
      const another = await acquire(dir, { shared: true });
      assert(lock.shared);
      assertEquals(await DirLock.tryAcquire(dir), null);
      lock.release();
      assertEquals(await DirLock.tryAcquire(dir), null);
      another.release();
      (await DirLock.tryAcquire(dir))!.release();
    }));

  test(`DirLock.${form}() locks the file that lockFileName names`, () =>
    inTempDir(async (dir) => {
      const one = await acquire(dir, { lockFileName: "one" });
      const two = await acquire(dir, { lockFileName: "two" });
      assertEquals(await DirLock.tryAcquire(dir, { lockFileName: "one" }), null);
      one.release();
      two.release();
      assertEquals(fs.readdirSync(dir).sort(), ["one", "two"]);
    }));

  test(`DirLock.${form}() does not change a lock file that has content`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, LOCK_FILE_NAME);
      fs.writeFileSync(file, "somebody's");
      const { ino, mtimeMs } = fs.statSync(file);
      (await acquire(dir)).release();
      const after = fs.statSync(file);
      assertEquals([fs.readFileSync(file, "utf8"), after.ino, after.mtimeMs], [
        "somebody's",
        ino,
        mtimeMs,
      ]);
    }));

  testWithLinks(
    `DirLock.${form}() refuses a lock file that is a link, live or dangling`,
    () =>
      inTempDir(async (dir) => {
        fs.writeFileSync(path.join(dir, "victim"), "precious");
        for (const target of ["victim", "nothing"]) {
          fs.symlinkSync(target, path.join(dir, LOCK_FILE_NAME));
          const error = await assertRejects(() => acquire(dir), Error, "symbolic link");
          assertEquals((error as Error & { code?: string }).code, "ELOOP");
          fs.unlinkSync(path.join(dir, LOCK_FILE_NAME));
        }
        assertEquals(fs.readdirSync(dir), ["victim"]);
      }),
  );

  test(`DirLock.${form}() refuses a lock file that is a directory`, () =>
    inTempDir(async (dir) => {
      fs.mkdirSync(path.join(dir, LOCK_FILE_NAME));
      await assertRejects(() => acquire(dir), Error, "not a regular file");
    }));

  test(
    `DirLock.${form}() refuses a lock file that is a FIFO, without waiting for a writer`,
    () =>
      inTempDir(async (dir) => {
        spawnSync("mkfifo", [path.join(dir, LOCK_FILE_NAME)]);
        await assertRejects(() => within(acquire(dir)), Error, "not a regular file");
      }),
    { skip: isWindows && "Windows has no FIFOs" },
  );

  test(`DirLock.${form}() throws ENOTDIR when the path is a file`, () =>
    inTempDir(async (root) => {
      fs.writeFileSync(path.join(root, "file"), "");
      const error = await assertRejects(() => acquire(path.join(root, "file")), Error);
      assertEquals((error as Error & { code?: string }).code, "ENOTDIR");
      assert(error.message.startsWith("Cannot lock '"), error.message);
    }));

  test(
    `DirLock.${form}() locks again when the lock file was replaced before the lock was granted`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, LOCK_FILE_NAME);
        fs.writeFileSync(file, "");
        let replaced = false;
        let lock!: DirLock;
        await intercepted(({ name }) => {
          if (name !== "lock.tryLock" || replaced) return;
          replaced = true;
          fs.renameSync(file, `${file}.old`);
          fs.writeFileSync(file, "");
        }, async () => void (lock = await acquire(dir)));
        assertEquals(await DirLock.tryAcquire(dir), null);
        lock.release();
      }),
    { skip: isWindows && "an open file keeps its name on Windows" },
  );

  test(
    `DirLock.${form}() throws ESTALE when the lock file is replaced before every attempt`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, LOCK_FILE_NAME);
        const descriptors = openDescriptors();
        await intercepted(({ name }) => {
          if (name !== "lock.tryLock") return;
          fs.writeFileSync(`${file}.new`, "");
          fs.renameSync(`${file}.new`, file);
        }, async () => {
          const error = await assertRejects(() => acquire(dir), Error, "keeps removing");
          assertEquals((error as Error & { code?: string }).code, "ESTALE");
        });
        assertEquals(openDescriptors(), descriptors);
      }),
    { skip: isWindows && "an open file keeps its name on Windows" },
  );

  for (const code of ["EACCES", "EPERM", "EROFS"]) {
    test(`DirLock.${form}() opens a lock file for reading when writing is refused with ${code}`, () =>
      inTempDir(async (dir) => {
        (await DirLock.acquire(dir)).release();
        const calls = await intercepted(({ name, args }) => {
          if (name === "openLock" && args[1] === "read-write") throw systemError(code);
        }, async () => (await acquire(dir)).release());
        assertEquals(
          calls.filter(({ name }) => name === "openLock").map(({ args }) => args[1]).slice(-2),
          ["read-write", "read"],
        );
      }));
  }

  for (const code of ["ENOLCK", "EOPNOTSUPP", "ENOSYS"]) {
    test(`DirLock.${form}() says that the file system does not support locks when it fails with ${code}`, () =>
      inTempDir(async (dir) => {
        const descriptors = openDescriptors();
        await intercepted(({ name }) => {
          if (name === "lock.tryLock") throw systemError(code);
        }, async () => {
          const error = await assertRejects(() => acquire(dir), Error, "does not support locks");
          assertEquals((error as Error & { code?: string }).code, code);
        });
        assertEquals(openDescriptors(), descriptors);
      }));
  }

  test(`DirLock.${form}() retries when a signal interrupts it`, () =>
    inTempDir(async (dir) => {
      let interrupts = 3;
      await intercepted(({ name }) => {
        if (name === "lock.tryLock" && interrupts-- > 0) throw systemError("EINTR");
      }, async () => (await acquire(dir)).release());
      assertEquals(interrupts, -1);
    }));

  test(`DirLock.${form}() waits for a free file descriptor`, () =>
    inTempDir(async (dir) => {
      let failures = 3;
      await intercepted(({ name }) => {
        if (name === "openLock" && failures-- > 0) throw systemError("EMFILE");
      }, async () => (await acquire(dir)).release());
      assertEquals(failures, -1);
    }));

  test(`DirLock.${form}() makes no asynchronous call when the lock is free`, () =>
    inTempDir(async (dir) => {
      (await DirLock.acquire(dir)).release();
      const calls = await recorded(async () => (await acquire(dir)).release());
      assertEquals(calls.filter((call) => call.form === "async"), []);
    }));
}

test("DirLock.acquire() waits until the lock is released", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    const second = await assertBlocks(DirLock.acquire(dir), () => first.release());
    const shared = await assertBlocks(
      DirLock.acquire(dir, { shared: true }),
      () => second.release(),
    );
    const third = await assertBlocks(DirLock.acquire(dir), () => shared.release());
    third.release();
  }));

test("DirLock.acquire() serves a thread's calls in order", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    const served: number[] = [];
    const waiters = Array.from({ length: 50 }, async (_, i) => {
      using _lock = await DirLock.acquire(dir);
      served.push(i);
      await new Promise((resolve) => setTimeout(resolve, 0));
    });
    first.release();
    await Promise.all(waiters);
    assertEquals(served, Array.from({ length: 50 }, (_, i) => i));
  }));

test("DirLock.acquire() serves shared waiters together, alternating with exclusive ones", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    const held: string[] = [];
    const open = new Map<string, () => void>();
    const wait = async (name: string, shared: boolean) => {
      using _lock = await DirLock.acquire(dir, { shared });
      held.push(name);
      await new Promise<void>((resolve) => open.set(name, resolve));
    };
    const turn = () => new Promise((resolve) => setTimeout(resolve, 20));
    const all = [
      wait("a", true),
      wait("b", true),
      wait("C", false),
      wait("d", true),
      wait("e", true),
    ];
    first.release();
    await turn();
    assertEquals(held, ["a", "b"]);
    assertEquals(await DirLock.tryAcquire(dir, { shared: true }), null);
    open.get("a")!();
    await turn();
    assertEquals(held, ["a", "b"]);
    open.get("b")!();
    await turn();
    assertEquals(held, ["a", "b", "C"]);
    open.get("C")!();
    await turn();
    assertEquals(held, ["a", "b", "C", "d", "e"]);
    open.get("d")!();
    open.get("e")!();
    await Promise.all(all);
  }));

testWithLinks(
  "DirLock.acquire() recognizes a lock file when its path is spelled differently",
  () =>
    inTempDir(async (root) => {
      const dir = path.join(root, "dir");
      fs.mkdirSync(dir);
      fs.symlinkSync("dir", path.join(root, "alias"));
      const lock = await DirLock.acquire(dir);
      for (const spelling of [`${root}/./dir`, `${dir}/`, path.join(root, "alias")]) {
        assertEquals(await DirLock.tryAcquire(spelling), null);
        assertThrows(() => DirLock.acquireSync(spelling), DeadlockError);
      }
      assertEquals(await DirLock.tryAcquire(pathToFileURL(dir)), null);
      lock.release();
    }),
);

test("DirLock.acquire() keeps no descriptor open while it waits for another call in its process", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    const descriptors = openDescriptors();
    const waiters = Array.from({ length: 100 }, () => DirLock.acquire(dir));
    await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals(openDescriptors(), descriptors);
    first.release();
    for (const waiter of waiters) (await waiter).release();
  }));

test("DirLock.acquire() calls onWait once when it has to wait", () =>
  inTempDir(async (dir) => {
    let calls = 0;
    const onWait = () => void calls++;
    const first = await DirLock.acquire(dir, { onWait });
    assertEquals(calls, 0);
    const second = await assertBlocks(DirLock.acquire(dir, { onWait }), () => first.release());
    assertEquals(calls, 1);
    assertThrows(() => DirLock.acquireSync(dir, { onWait, shared: true }), DeadlockError);
    second.release();
  }));

/** Calls `fn` with a fake clock that advances only when `fn` advances it. */
async function withClock(
  fn: (goOn: (milliseconds: number) => void) => void | Promise<void>,
): Promise<void> {
  const { now } = clock;
  let time = now();
  clock.now = () => time;
  try {
    await fn((milliseconds) => void (time += milliseconds));
  } finally {
    clock.now = now;
  }
}

test("DirLock.acquire() yields to other processes after a streak of locks, then calls onWait", () =>
  inTempDir(async (dir) => {
    const lock = await DirLock.acquire(dir);
    const other = runtime.openLock(lock.path, "read-write");
    let waits = 0;
    const again: Promise<DirLock>[] = [];
    await withClock((goOn) => {
      goOn(25);
      lock.release();
      again.push(DirLock.acquire(dir, { onWait: () => void waits++ }));
      // Another process can acquire the lock even though this process requested it first.
      assert(other.tryLock(true));
    });
    const next = await assertBlocks(again[0]!, () => other.close());
    assertEquals(waits, 1);
    next.release();
  }));

test("DirLock.acquire() yields after a streak of locks that includes another directory's lock", () =>
  inTempDir(async (dir) => {
    const lock = await DirLock.acquire(dir);
    const other = runtime.openLock(lock.path, "read-write");
    const again: Promise<DirLock>[] = [];
    await withClock(async (goOn) => {
      goOn(25);
      (await DirLock.acquire(`${dir}/inner`)).release();
      lock.release();
      again.push(DirLock.acquire(dir));
      assert(other.tryLock(true));
    });
    (await assertBlocks(again[0]!, () => other.close())).release();
  }));

test("DirLock.acquireSync() yields to other processes after a streak of locks", () =>
  inTempDir(async (dir) => {
    const pauses: number[] = [];
    const sleep = (time: number) => void pauses.push(time);
    await withClock((goOn) =>
      onPlatform(() => ({ sleep }), () => {
        DirLock.acquireSync(dir).release();
        DirLock.acquireSync(dir).release();
        assertEquals(pauses, []);
        const lock = DirLock.acquireSync(dir);
        goOn(25);
        lock.release();
        DirLock.acquireSync(dir).release();
        assertEquals(pauses, [2]);
      })
    );
  }));

test("DirLock.acquire() rejects when onWait throws", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    const onWait = () => {
      throw new Error("not today");
    };
    await assertRejects(() => DirLock.acquire(dir, { onWait }), Error, "not today");
    first.release();
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("DirLock.acquire() rejects with a LockTimeoutError when its timeout expires", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    for (const timeout of [0, 1, 30]) {
      const started = performance.now();
      const error = await assertRejects(() => DirLock.acquire(dir, { timeout }), LockTimeoutError);
      assertEquals(
        [error.name, error.code, error.path, error.timeout],
        ["LockTimeoutError", "ETIMEDOUT", first.path, timeout],
      );
      assert(error.message.includes(first.path) && error.message.includes(`${timeout} ms`));
      assert(performance.now() - started >= timeout);
    }
    first.release();
    (await DirLock.acquire(dir, { timeout: 0 })).release();
  }));

test("DirLock.acquire() waits when its timeout is beyond a timer's range", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    for (const timeout of [2 ** 31, Number.MAX_VALUE, Infinity]) {
      const controller = new AbortController();
      const waiting = DirLock.acquire(dir, { timeout, signal: controller.signal });
      const rejected = assertRejects(() => waiting, Error, "enough");
      await assertBlocks(rejected, () => controller.abort(new Error("enough")));
    }
    first.release();
  }));

test("DirLock.acquire() leaves the queue and rejects with its signal's reason when aborted", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    const controller = new AbortController();
    const reason = new Error("enough");
    const gone = [0, 1, 2].map(() => DirLock.acquire(dir, { signal: controller.signal }));
    const patient = DirLock.acquire(dir);
    const rejected = Promise.all(gone.map((waiter) => assertRejects(() => waiter)));
    controller.abort(reason);
    assertEquals(await rejected, [reason, reason, reason]);
    await assertRejects(() => DirLock.acquire(dir, { signal: controller.signal }), Error, "enough");
    first.release();
    (await patient).release();
  }));

test("DirLock.acquire() rejects when its signal is aborted in the same tick as the release", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    const controller = new AbortController();
    const waiting = DirLock.acquire(dir, { signal: controller.signal });
    first.release();
    controller.abort(new Error("enough"));
    await assertRejects(() => waiting, Error, "enough");
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("DirLock.acquire() serves shared waiters when the exclusive waiter ahead of them gives up", () =>
  inTempDir(async (dir) => {
    const reader = await DirLock.acquire(dir, { shared: true });
    const controller = new AbortController();
    const writer = DirLock.acquire(dir, { signal: controller.signal });
    const next = DirLock.acquire(dir, { shared: true });
    const rejected = assertRejects(() => writer);
    controller.abort();
    await rejected;
    (await next).release();
    reader.release();
  }));

test("DirLock.acquireSync() throws a DeadlockError when this thread holds the lock", () =>
  inTempDir(async (dir) => {
    for (const [held, wanted] of [[false, false], [true, false], [false, true]] as const) {
      using lock = await DirLock.acquire(dir, { shared: held });
      const error = assertThrows(
        () => DirLock.acquireSync(dir, { shared: wanted }),
        DeadlockError,
      );
      assertEquals([error.name, error.code, error.path], ["DeadlockError", "EDEADLK", lock.path]);
    }
  }));

test("DirLock.acquireSync() jumps ahead of calls already waiting on the same thread", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    const waiter = DirLock.acquire(dir);
    first.release();
    const lock = DirLock.acquireSync(dir);
    lock.release();
    (await waiter).release();
  }));

test("DirLock.release() does not free another lock when called twice", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.acquire(dir);
    first.release();
    const second = await DirLock.acquire(dir);
    first.release();
    assertEquals(await DirLock.tryAcquire(dir), null);
    second.release();
  }));

test("DirLock.release() frees the lock when unlocking fails", () =>
  inTempDir(async (dir) => {
    await intercepted(({ name }) => {
      if (name === "lock.unlock") throw systemError("EIO");
    }, async () => (await DirLock.acquire(dir)).release());
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("DirLock is released at the end of a using scope", () =>
  inTempDir(async (dir) => {
    {
      using _lock = await DirLock.acquire(dir);
      assertEquals(await DirLock.tryAcquire(dir), null);
    }
    {
      await using _lock = await DirLock.acquire(dir);
    }
    (await DirLock.tryAcquire(dir))!.release();
  }));

test(
  "DirLock.release() succeeds after the directory has been removed",
  () =>
    inTempDir(async (root) => {
      const dir = path.join(root, "dir");
      const first = await DirLock.acquire(dir);
      fs.rmSync(dir, { recursive: true });
      const second = await DirLock.acquire(dir);
      first.release();
      assertEquals(await DirLock.tryAcquire(dir), null);
      second.release();
    }),
  { skip: isWindows && "an open file keeps its directory on Windows" },
);

test(
  "DirLock.acquire() acquires the lock when the lock file is read-only",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, LOCK_FILE_NAME);
      fs.writeFileSync(file, "");
      protect(file, true);
      try {
        assertThrows(() => fs.openSync(file, "r+"));
        const lock = await DirLock.acquire(dir);
        assertEquals(await DirLock.tryAcquire(dir), null);
        lock.release();
      } finally {
        protect(file, false);
      }
    }),
  { skip: !mayProtect() && "cannot protect a file from this user" },
);

/** Sets or clears write protection, which prevents even root from opening the file for writing. */
function protect(file: string, on: boolean): void {
  if (!isRoot) fs.chmodSync(file, on ? 0o444 : 0o644);
  else if (spawnSync("chattr", [on ? "+i" : "-i", file]).status !== 0) throw new Error("chattr");
}

/** Whether {@linkcode protect} works here. */
function mayProtect(): boolean {
  const file = path.join(fs.mkdtempSync(path.join(tmpdir(), "aperture-protect-")), "file");
  fs.writeFileSync(file, "");
  try {
    protect(file, true);
    fs.closeSync(fs.openSync(file, "r+"));
    return false;
  } catch (error) {
    return ["EACCES", "EPERM"].includes((error as Error & { code: string }).code);
  } finally {
    protect(file, false);
    fs.rmSync(path.dirname(file), { recursive: true });
  }
}

test("DirLock.acquire() has at most four calls waiting in the kernel", () =>
  inTempDir(async (dir) => {
    const dirs = Array.from({ length: 8 }, (_, i) => path.join(dir, String(i)));
    // Hold the locks through descriptors that are unknown to the queues, as if another process held
    // them.
    const held = dirs.map((dir) => {
      DirLock.acquireSync(dir).release();
      const file = runtime.openLock(path.join(dir, LOCK_FILE_NAME), "read-write");
      file.tryLock(true);
      return file;
    });
    const calls = await recorded(async () => {
      const waiting = Promise.all(dirs.map((dir) => DirLock.acquire(dir)));
      const locks = await assertBlocks(waiting, () => held.forEach((file) => file.close()));
      for (const lock of locks) lock.release();
    });
    assertEquals(calls.filter(({ name }) => name === "lock.lock").length, isDeno ? 4 : 0);
  }));

test(
  "DirLock.acquireSync() throws a DeadlockError when this thread is waiting in the kernel",
  () =>
    inTempDir(async (dir) => {
      DirLock.acquireSync(dir).release();
      const held = runtime.openLock(path.join(dir, LOCK_FILE_NAME), "read-write");
      held.tryLock(true);
      const waiting = DirLock.acquire(dir);
      await new Promise((resolve) => setTimeout(resolve, 5));
      assertThrows(() => DirLock.acquireSync(dir), DeadlockError);
      held.close();
      (await waiting).release();
    }),
  { skip: !isDeno && "calls wait in the kernel only on Deno" },
);

test("withDirLock() returns the function's result and releases the lock", () =>
  inTempDir(async (dir) => {
    assertEquals(
      await withDirLock(dir, async (lock) => {
        assertEquals([lock.released, await DirLock.tryAcquire(dir)], [false, null]);
        return 42;
      }),
      42,
    );
    assertEquals(await withDirLock(dir, () => "sync", { timeout: 0 }), "sync");
  }));

test("withDirLock() releases the lock when the function throws", () =>
  inTempDir(async (dir) => {
    const fail = () => {
      throw new Error("mine");
    };
    await assertRejects(() => withDirLock(dir, fail), Error, "mine");
    await assertRejects(() => withDirLock(dir, () => Promise.reject(new Error("later"))), Error);
    (await DirLock.tryAcquire(dir))!.release();
  }));
