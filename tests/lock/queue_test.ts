/** The order in which calls in one process acquire a lock, and how they give up. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { atomicUpdate, DeadlockError, DirLock, LOCK_FILE_NAME } from "../../mod.ts";
import { runtime } from "../../runtime/mod.ts";
import { assertBlocks } from "../support/blocks.ts";
import { Child } from "../support/child.ts";
import { inTempDir } from "../support/dir.ts";
import { noIdentity, onPlatform, windowsLocks } from "../support/fake.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { isBun, isDeno, isWindows, test, testWithLinks } from "../support/test.ts";
import { within } from "../support/within.ts";
import "../support/worker.ts";

/**
 * Enough waiters that a queue with linear searches would take minutes. Under Wine, each waiter
 * takes 5 ms.
 */
const WAITERS = Number(process.env.APERTURE_WAITERS ?? 20_000);

/** Waits long enough for the calls in flight in this process to make progress. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}

/**
 * Locks a directory through a descriptor that is unknown to the queues, as if another process held
 * the lock.
 */
function lockOutside(dir: string): { release(): void } {
  DirLock.acquireSync(dir).release();
  const file = runtime.openLock(path.join(dir, LOCK_FILE_NAME), "read-write");
  assert(file.tryLock(true));
  return { release: () => file.close() };
}

test("DirLock.acquire() serves calls in order when the directory is missing", () =>
  inTempDir(async (root) => {
    const dir = path.join(root, "new", "dir");
    const order: number[] = [];
    await Promise.all(Array.from({ length: 12 }, async (_, i) => {
      const lock = await DirLock.acquire(dir);
      order.push(i);
      lock.release();
    }));
    assertEquals(order, Array.from({ length: 12 }, (_, i) => i));
  }));

test(
  "DirLock.acquire() succeeds while other calls remove the directory",
  () =>
    inTempDir(async (root) => {
      const dir = path.join(root, "dir");
      await Promise.all(Array.from({ length: 30 }, async () => {
        const lock = await DirLock.acquire(dir);
        await fs.promises.rm(dir, { recursive: true, force: true });
        lock.release();
      }));
      assertEquals(fs.existsSync(dir), false);
    }),
  { skip: isWindows && "an open file keeps its directory on Windows" },
);

test("DirLock.acquire() acquires the lock when its own onWait releases it", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const lock = await within(DirLock.acquire(dir, { onWait: () => held.release() }));
    assertEquals(await DirLock.tryAcquire(dir), null);
    lock.release();
  }));

test("DirLock.acquire() is served before a call made from its own onWait", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const served: string[] = [];
    let inner: Promise<void> | undefined;
    const wait = async (name: string, onWait?: () => void) => {
      const lock = await DirLock.acquire(dir, onWait && { onWait });
      served.push(name);
      await turn();
      lock.release();
    };
    const outer = wait("outer", () => {
      inner = wait("inner");
      held.release();
    });
    await within(outer);
    await within(inner!);
    assertEquals(served, ["outer", "inner"]);
  }));

test("DirLock.tryAcquireSync() returns null in an onWait callback that has released the lock", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const tried: (DirLock | null)[] = [];
    const onWait = () => {
      held.release();
      tried.push(DirLock.tryAcquireSync(dir));
    };
    (await within(DirLock.acquire(dir, { onWait }))).release();
    assertEquals(tried, [null]);
  }));

test("DirLock.acquire() lets the next call acquire the lock when its onWait releases it and throws", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const onWait = () => {
      held.release();
      throw new Error("not today");
    };
    const failing = assertRejects(() => DirLock.acquire(dir, { onWait }), Error, "not today");
    const next = DirLock.acquire(dir);
    await within(failing);
    (await within(next)).release();
  }));

test("DirLock.acquireSync() acquires the lock when its own onWait releases it", () =>
  inTempDir((dir) => {
    const held = lockOutside(dir);
    const onWait = () => held.release();
    DirLock.acquireSync(dir, { onWait, timeout: 5_000 }).release();
  }));

test("DirLock.release() leaves the lock to a waiting call, not to a new call in the same tick", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const served: string[] = [];
    const wait = async (name: string) => {
      const lock = await DirLock.acquire(dir);
      served.push(name);
      await turn();
      lock.release();
    };
    const first = wait("first");
    held.release();
    const second = wait("second");
    await within(Promise.all([first, second]));
    assertEquals(served, ["first", "second"]);
  }));

for (const form of ["tryAcquire", "tryAcquireSync"] as const) {
  test(`DirLock.${form}() returns null when the lock was released to a waiter in the same tick`, () =>
    inTempDir(async (dir) => {
      const held = await DirLock.acquire(dir);
      const waiter = DirLock.acquire(dir);
      held.release();
      assertEquals(await DirLock[form](dir), null);
      (await within(waiter)).release();
    }));

  test(`DirLock.${form}() returns null for a shared lock when a call waits for an exclusive one`, () =>
    inTempDir(async (dir) => {
      const reader = await DirLock.acquire(dir, { shared: true });
      const writer = DirLock.acquire(dir);
      assertEquals(await DirLock[form](dir, { shared: true }), null);
      reader.release();
      (await within(writer)).release();
    }));
}

test(
  `DirLock.acquire() serves ${WAITERS} waiters in the order of their calls`,
  () =>
    inTempDir(async (dir) => {
      const held = await DirLock.acquire(dir);
      const served: number[] = [];
      const waits = Array.from({ length: WAITERS }, async (_, i) => {
        const lock = await DirLock.acquire(dir);
        served.push(i);
        lock.release();
      });
      held.release();
      await Promise.all(waits);
      assertEquals(served.length, WAITERS);
      assertEquals(served.findIndex((waiter, i) => waiter !== i), -1);
    }),
  { timeout: 60_000 },
);

test(
  `DirLock.acquire() serves the remaining call when the ${WAITERS / 2} calls around it give up`,
  () =>
    inTempDir(async (dir) => {
      const held = await DirLock.acquire(dir);
      const controller = new AbortController();
      const reason = new Error("enough");
      const giveUp = () =>
        DirLock.acquire(dir, { signal: controller.signal }).then(
          () => "served",
          (error) => error === reason ? "gave up" : error,
        );
      const before = Array.from({ length: WAITERS / 4 }, giveUp);
      const patient = DirLock.acquire(dir);
      const after = Array.from({ length: WAITERS / 4 }, giveUp);
      controller.abort(reason);
      assertEquals([...new Set(await Promise.all([...before, ...after]))], ["gave up"]);
      held.release();
      (await within(patient)).release();
      (await DirLock.tryAcquire(dir))!.release();
    }),
  { timeout: 60_000 },
);

test("DirLock.acquire() prints no warning when many waiting calls share one signal", () =>
  inTempDir(async (dir) => {
    const warnings: string[] = [];
    const listen = ({ message }: Error) => void warnings.push(message);
    process.on("warning", listen);
    try {
      const held = await DirLock.acquire(dir);
      const { signal } = new AbortController();
      const waits = Array.from({ length: 30 }, () => DirLock.acquire(dir, { signal }));
      const updates = Array.from({ length: 30 }, () => {
        return atomicUpdate(path.join(dir, "file"), () => "x", { signal });
      });
      await turn();
      held.release();
      for (const wait of waits) (await wait).release();
      await Promise.all(updates);
      await turn();
      assertEquals(warnings, []);
    } finally {
      process.off("warning", listen);
    }
  }));

test("DirLock.acquire() throws EMFILE when no descriptor becomes free before its timeout expires", () =>
  inTempDir(async (dir) => {
    await intercepted(({ name }) => {
      if (name === "openLock") throw systemError("EMFILE");
    }, async () => {
      const started = performance.now();
      const error = await assertRejects(() => DirLock.acquire(dir, { timeout: 50 }), Error);
      assert(performance.now() - started < 5_000);
      assert(!error.message.includes("held by another"), error.message);
      assert(/EMFILE|descriptor/.test(error.message), error.message);
    });
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("DirLock.acquire() rejects when its signal is aborted while it waits for a free descriptor", () =>
  inTempDir(async (dir) => {
    await intercepted(({ name }) => {
      if (name === "openLock") throw systemError("EMFILE");
    }, async () => {
      const controller = new AbortController();
      const waiting = DirLock.acquire(dir, { signal: controller.signal });
      const rejected = assertRejects(() => waiting, Error, "enough");
      await within(assertBlocks(rejected, () => controller.abort(new Error("enough"))));
    });
    (await DirLock.tryAcquire(dir))!.release();
  }));

test("DirLock.acquireSync() sleeps no longer than its timeout while it waits for a free descriptor", () =>
  inTempDir(async (dir) => {
    let slept = 0;
    await intercepted(({ name, args }) => {
      if (name === "openLock") throw systemError("EMFILE");
      if (name === "sleep") slept += args[0] as number;
    }, () => {
      const error = assertThrows(() => DirLock.acquireSync(dir, { timeout: 40 }), Error);
      assert(!error.message.includes("held by another"), error.message);
    });
    assert(slept <= 60, `${slept} ms`);
  }));

test("DirLock.acquire() resolves on Windows, where a handle that holds a lock cannot lock again", () =>
  inTempDir((dir) =>
    onPlatform(windowsLocks, async () => {
      const held = lockOutside(dir);
      const waiting = DirLock.acquire(dir);
      const lock = await assertBlocks(within(waiting), () => held.release());
      assertEquals(await DirLock.tryAcquire(dir), null);
      lock.release();
      (await DirLock.tryAcquire(dir))!.release();
    })
  ));

test(
  "DirLock.acquire() locks again when the lock file is replaced while it waits in the kernel",
  () =>
    inTempDir((dir) =>
      onPlatform(windowsLocks, async () => {
        const file = path.join(dir, LOCK_FILE_NAME);
        const held = lockOutside(dir);
        const lock = await assertBlocks(within(DirLock.acquire(dir)), () => {
          fs.renameSync(file, `${file}.old`);
          fs.writeFileSync(file, "");
          held.release();
        });
        const outside = runtime.openLock(file, "read-write");
        assert(!outside.tryLock(true));
        outside.close();
        lock.release();
      })
    ),
  { skip: isWindows && "an open file keeps its name on Windows" },
);

testWithLinks(
  "DirLock.acquireSync() recognizes a lock file without an identity by its real path",
  () =>
    inTempDir((root) =>
      onPlatform(noIdentity, async () => {
        const dir = path.join(root, "dir");
        fs.mkdirSync(dir);
        fs.symlinkSync("dir", path.join(root, "alias"));
        const lock = await DirLock.acquire(dir);
        const alias = path.join(root, "alias");
        assertThrows(() => DirLock.acquireSync(alias, { timeout: 50 }), DeadlockError);
        assertEquals(await DirLock.tryAcquire(alias), null);
        lock.release();
        (await DirLock.tryAcquire(alias))!.release();
      })
    ),
);

test("DirLock.acquire() distinguishes lock files without an identity", () =>
  inTempDir((root) =>
    onPlatform(noIdentity, async () => {
      const [one, two] = ["one", "two"].map((name) => path.join(root, name));
      const first = DirLock.acquireSync(one!);
      const second = DirLock.acquireSync(two!);
      assertEquals(await DirLock.tryAcquire(one!), null);
      first.release();
      second.release();
    })
  ));

const keepsOpen = isBun || (isWindows && !isDeno);
for (const how of ["end", "exit", "untracked", "terminate"]) {
  test(
    `DirLock is free once the thread that held it has ended: ${how}`,
    () =>
      inTempDir(async (dir) => {
        const child = new Child("threadThatKeeps", [dir, how]);
        await child.says("ended");
        await child.says("free");
        assertEquals(await child.exit(), 0);
      }),
    { skip: how === "terminate" && keepsOpen && "a terminated thread is not notified" },
  );
}

test(
  "DirLock.verify() throws a LockLostError when its thread is ending",
  () =>
    inTempDir(async (dir) => {
      assertEquals(await new Child("inThread", ["useAtExit", dir]).exit(), 0);
      assertEquals(fs.readFileSync(path.join(dir, "told"), "utf8"), "LockLostError");
    }),
  { skip: isDeno && "Deno does not notify a thread that ends" },
);

test(
  "DirLock.acquire() warns once per lock, after 10 s, that a nested wait may never end",
  () =>
    inTempDir(async (dir) => {
      const ways = [
        "acquire",
        "update",
        "handed",
        "timeout",
        "signal",
        "handedWithSignal",
        "other",
      ];
      const held = DirLock.acquireSync(path.join(dir, "other", "held"));
      const child = new Child("nest", [dir, ...ways]);
      const lines: string[] = [];
      for (let line; (line = await child.line()) !== "over";) lines.push(line);
      await child.exit();
      held.release();
      const warnings = ways.map((way) =>
        lines.filter((line) => line.includes(path.join(dir, way, "/")))
      );
      assertEquals(warnings.flat().length, lines.length);
      const warned = ways.map((way, i) => [way, warnings[i]!.length]);
      assertEquals(Object.fromEntries(warned), {
        acquire: 2,
        update: 2,
        handed: 2,
        timeout: 0,
        signal: 0,
        handedWithSignal: 0,
        other: 0,
      });
      for (const [i, advice] of ["'lock' option", "'lock' option", "out of 'fn'"].entries()) {
        const [after, ...message] = warnings[i]![0]!.split(" ");
        assert(Number(after) >= 9_500, after);
        assert(message.join(" ").includes(advice), message.join(" "));
      }
    }),
  { timeout: 60_000 },
);
