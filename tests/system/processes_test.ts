import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { atomicWrite, DirLock, isTempName, sweepTempFiles } from "../../mod.ts";
import { assertBlocks } from "../support/blocks.ts";
import { Child, until } from "../support/child.ts";
import { content, numberOf } from "../support/content.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { isBun, isDeno, isRoot, test } from "../support/test.ts";
import "../support/worker.ts";

const isLinux = process.platform === "linux";

/** How many processes the tests kill; `deno task prove` kills more. */
const KILLS = Number(process.env.APERTURE_KILLS ?? 8);

async function finished(children: Child[]): Promise<void> {
  assertEquals(await Promise.all(children.map((child) => child.exit())), children.map(() => 0));
}

test("atomicWrite() leaves one complete version when its process is killed", () =>
  inTempDir(async (dir) => {
    let leftovers = 0;
    const setups = (["none", "consistent", "durable"] as const)
      .flatMap((durability) => ["async", "sync"].map((form) => [durability, form] as const));
    const kill = async (round: number) => {
      const [durability, form] = setups[round % setups.length]!;
      const own = path.join(dir, String(round));
      fs.mkdirSync(own);
      // With many concurrent writes, some are likely to be at a critical point when the process is
      // killed.
      const names = form === "sync" ? ["file"] : [..."abcdefgh"];
      const files = names.map((name) => path.join(own, name));
      for (const file of files) fs.writeFileSync(file, content(0, 10));
      const child = new Child("write", [durability, form, ...files]);
      await child.says("writing");
      // Don't kill it until it has started writing, even on a slow machine.
      await until(() => numberOf(fs.readFileSync(files[0]!)) > 0, child.process);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
      await child.kill();
      for (const file of files) numberOf(fs.readFileSync(file));
      const left = list(own).filter((name) => !names.includes(name));
      assert(left.every(isTempName), left.join());
      leftovers += left.length;
      assertEquals((await sweepTempFiles(own, { olderThan: 0 })).length, left.length);
      assertEquals(list(own), names);
    };
    // Repeat until at least one process happens to be killed while writing.
    for (let round = 0; round < KILLS || leftovers === 0 && round < 20 * KILLS; round += 4) {
      await Promise.all([0, 1, 2, 3].map((i) => kill(round + i)));
    }
    // If no process was killed while writing, the kills did not happen at random moments.
    assert(leftovers > 0, "no process was killed while it wrote");
  }));

test("DirLock is free as soon as its holder is killed", () =>
  inTempDir(async (dir) => {
    for (let round = 0; round < KILLS / 4; round++) {
      const child = new Child("lockAndWrite", [dir]);
      await child.says("writing");
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
      await child.kill();
      const lock = await DirLock.tryAcquire(dir);
      assert(lock !== null);
      lock!.release();
      await sweepTempFiles(dir, { olderThan: 0 });
      assert(list(dir).length <= 1, list(dir).join());
    }
  }));

test("DirLock.acquire() waits for another process", () =>
  inTempDir(async (dir) => {
    for (const shared of ["exclusive", "shared"]) {
      const child = new Child("hold", [dir, shared]);
      await child.says("held");
      assertEquals(await DirLock.tryAcquire(dir), null);
      assertEquals(DirLock.tryAcquireSync(dir), null);
      const reader = await DirLock.tryAcquire(dir, { shared: true });
      assertEquals(reader !== null, shared === "shared");
      reader?.release();
      const lock = await assertBlocks(DirLock.acquire(dir), () => child.tell());
      lock.release();
      await finished([child]);
    }
  }));

test("DirLock.acquire() with a signal that is not aborted waits for another process", () =>
  inTempDir(async (dir) => {
    const child = new Child("hold", [dir]);
    await child.says("held");
    const { signal } = new AbortController();
    const lock = await assertBlocks(DirLock.acquire(dir, { signal }), () => child.tell());
    lock.release();
    await finished([child]);
  }));

test("DirLock.acquireSync() waits for another process", () =>
  inTempDir(async (dir) => {
    const lock = await DirLock.acquire(dir);
    const child = new Child("acquireSync", [dir]);
    await child.says("blocking");
    await assertBlocks(child.says("held"), () => lock.release());
    await finished([child]);
  }));

for (const how of ["timeout", "signal"]) {
  test(`DirLock.acquire() with a ${how} gives up on time and does not keep the process alive`, () =>
    inTempDir(async (dir) => {
      const lock = await DirLock.acquire(dir);
      const child = new Child("giveUp", [dir, how, 100]);
      await child.says(how === "timeout" ? "LockTimeoutError" : "TimeoutError");
      const took = Number(await child.line());
      const ended = performance.now();
      await finished([child]);
      assert(took >= 95 && took < 2_000, `${took} ms`);
      // The lock is still held, so the process would not have exited if it were still waiting.
      assert(performance.now() - ended < 5_000);
      lock.release();
    }));
}

test("DirLock provides mutual exclusion among 4 processes and 100 tasks in this process", () =>
  inTempDir(async (dir) => {
    const counter = path.join(dir, "counter");
    fs.writeFileSync(counter, "0");
    const children = Array.from({ length: 4 }, () => new Child("count", [dir, 50]));
    const tasks = Array.from({ length: 100 }, async () => {
      using _lock = await DirLock.acquire(dir);
      const count = Number(text(counter));
      await new Promise((resolve) => setTimeout(resolve, 0));
      fs.writeFileSync(counter, String(count + 1));
    });
    await Promise.all(tasks);
    await finished(children);
    assertEquals(text(counter), String(4 * 50 + 100));
  }));

test("atomicUpdate() loses none of 32 concurrent updates in each of 4 processes", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "counter");
    await finished(Array.from({ length: 4 }, () => new Child("update", [file, 32])));
    assertEquals([text(file), list(dir)], ["128", ["counter"]]);
  }));

test("atomicWrite() shows readers in other processes only complete versions", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, content(0, 10));
    const writers = ["async", "sync"].map((form) => new Child("write", ["none", form, file]));
    for (const writer of writers) await writer.says("writing");
    const readers = [new Child("read", [file]), new Child("read", [file])];
    for (const reader of readers) await reader.says("reading");
    await new Promise((resolve) => setTimeout(resolve, 250));
    for (const reader of readers) {
      reader.tell();
      assert(Number(await reader.line()) > 0);
    }
    await finished(readers);
    for (const writer of writers) await writer.kill();
  }));

test(
  "DirLock.acquire() needs only a handful of threads and descriptors for 3,000 waiters",
  () =>
    inTempDir(async (dir) => {
      const lock = await DirLock.acquire(dir);
      const child = new Child("crowd", [dir, 3_000]);
      const [threads, descriptors] = [Number(await child.line()), Number(await child.line())];
      assert(threads < 64, `${threads} threads`);
      assert(descriptors < 128, `${descriptors} descriptors`);
      child.tell();
      await assertBlocks(child.says("all served"), () => lock.release());
      await finished([child]);
    }),
  { skip: !isLinux && "requires /proc" },
);

test(
  "DirLock.release() frees the lock even if a child process keeps running",
  () =>
    inTempDir(async (dir) => {
      const child = new Child("spawnWhileHolding", [dir]);
      await child.says("held");
      assertEquals(await DirLock.tryAcquire(dir), null);
      child.tell();
      await child.says("released");
      (await DirLock.tryAcquire(dir))!.release();
      child.tell();
      await finished([child]);
    }),
  { skip: !isLinux && "requires sleep(1)" },
);

test(
  "DirLock is not inherited by a child process that outlives the holder",
  () =>
    inTempDir(async (dir) => {
      const child = new Child("spawnWhileHolding", [dir]);
      await child.says("held");
      await child.kill();
      (await DirLock.tryAcquire(dir))!.release();
    }),
  { skip: !isLinux && "requires sleep(1)" },
);

test("DirLock.acquire() does not block file operations, even with a thread pool size of 1", () =>
  inTempDir(async (dir) => {
    const holder = new Child("holdMany", [dir, 8]);
    await holder.says("held");
    const child = new Child("waitAndWrite", [dir, 8], { env: { UV_THREADPOOL_SIZE: "1" } });
    // If the waits blocked the thread pool, the writes could not finish before the locks were
    // released.
    await child.says("written");
    await assertBlocks(child.says("all served"), () => holder.tell());
    await finished([holder, child]);
  }));

test("DirLock is not freed by garbage collection", () =>
  inTempDir(async (dir) => {
    const runtimeArgs = isBun ? [] : [isDeno ? "--v8-flags=--expose-gc" : "--expose-gc"];
    const child = new Child("dropLock", [dir], { runtimeArgs });
    await child.says("collected");
    assertEquals(await DirLock.tryAcquire(dir), null);
    child.tell();
    await finished([child]);
    (await DirLock.tryAcquire(dir))!.release();
  }));

/** Checks the lines that a job prints: one for each write, all of which must fail. */
async function refused(child: Child, dir: string, code: string): Promise<void> {
  const file = path.join(dir, "file");
  for (let line; (line = await child.line()) !== "done";) {
    const [how, told, ...left] = line.split(" ");
    assertEquals({ how, told, left }, { how, told: code, left: ["file"] });
    assertEquals(numberOf(fs.readFileSync(file)), 1);
  }
  await finished([child]);
}

test("atomicWrite() keeps the old content when the disk is full", () =>
  inTempDir(async (dir) => {
    const disk = path.join(dir, "disk");
    fs.mkdirSync(disk);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", disk]);
    assertEquals(mounted.status, 0, String(mounted.stderr));
    try {
      fs.writeFileSync(path.join(disk, "file"), content(1, 100_000));
      await refused(new Child("fail", [disk, 500_000]), disk, "ENOSPC");
    } finally {
      spawnSync("umount", [disk]);
    }
  }), { skip: !mayMount() && "cannot mount a small disk" });

test(
  "atomicWrite() keeps the old content when the file size is limited",
  () =>
    inTempDir(async (dir) => {
      fs.writeFileSync(path.join(dir, "file"), content(1, 10_000));
      const child = new Child("fail", [dir, 500_000], {
        shell: "trap '' XFSZ; ulimit -f 64",
      });
      await refused(child, dir, "EFBIG");
    }),
  { skip: !isLinux && "requires the ulimit command of bash" },
);

test(
  "atomicWrite() fails on a bind-mounted file and leaves nothing behind",
  () =>
    inTempDir(async (dir) => {
      const [file, other] = [path.join(dir, "file"), path.join(dir, "other")];
      fs.writeFileSync(file, "old");
      fs.writeFileSync(other, "bound");
      assertEquals(spawnSync("mount", ["--bind", other, file]).status, 0);
      try {
        const error = await atomicWrite(file, "new").then(() => undefined, (error) => error);
        assertEquals([error?.code, error?.replaced], ["EBUSY", false]);
        assertEquals([list(dir), text(file), text(other)], [["file", "other"], "bound", "bound"]);
      } finally {
        spawnSync("umount", [file]);
      }
    }),
  { skip: !mayMount() && "cannot mount file systems" },
);

/** Whether this process can mount file systems. */
function mayMount(): boolean {
  if (!isRoot || !isLinux) return false;
  const dir = fs.mkdtempSync(path.join(process.env.TMPDIR ?? "/tmp", "aperture-mount-"));
  const { status } = spawnSync("mount", ["-t", "tmpfs", "tmpfs", dir]);
  if (status === 0) spawnSync("umount", [dir]);
  fs.rmdirSync(dir);
  return status === 0;
}
