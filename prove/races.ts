import * as childProcess from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import { atomicWrite, DirLock } from "../mod.ts";
import { Child } from "../tests/support/child.ts";
import { numberOf } from "../tests/support/content.ts";
import { type Part, same, Tally } from "./part.ts";

/**
 * Tests unusual conditions: removed directories, threads, containers, descriptor shortages, and
 * long runs.
 */
export const proveRaces: Part = async ({ short, runtimes }) => {
  const base = fs.mkdtempSync(path.join(os.tmpdir(), "prove-races-"));
  let number = 0;
  const fresh = () => {
    const dir = path.join(base, String(number++));
    fs.mkdirSync(dir);
    return dir;
  };
  const rounds = short ? 3 : 100;

  const removed = new Tally();
  for (let i = 0; i < rounds; i++) {
    for (const how of ["removed", "replaced"]) {
      await removed.try(`${how} ${i}`, async () => {
        const dir = fresh();
        const held = await DirLock.acquire(dir);
        const waiters = Array.from({ length: 5 }, () => DirLock.acquire(dir));
        fs.renameSync(dir, `${dir}.old`);
        if (how === "replaced") fs.mkdirSync(dir);
        const other = await DirLock.acquire(dir); // The new directory's lock is free.
        held.release();
        let inside = 1;
        const served = waiters.map(async (waiter) => {
          const lock = await waiter;
          if (++inside > 1) throw new Error("two inside");
          await new Promise((go) => setTimeout(go, 0));
          inside--;
          lock.release();
        });
        await new Promise((go) => setTimeout(go, 5));
        inside--;
        other.release();
        await Promise.all(served);
      });
    }
  }

  const chdir = new Tally();
  const [here, cwd] = [fresh(), process.cwd()];
  try {
    for (let i = 0; i < 10 * rounds; i++) {
      await chdir.try(`chdir ${i}`, async () => {
        process.chdir(here);
        const writes = [0, 1, 2].map((n) =>
          atomicWrite(`file-${n}`, String(i), { durability: "none" })
        );
        process.chdir(base);
        await Promise.all(writes);
        same(fs.readdirSync(here).sort(), ["file-0", "file-1", "file-2"]);
      });
    }
  } finally {
    process.chdir(cwd);
  }

  const [threads, containers, few] = [new Tally(), new Tally(), new Tally()];
  const unshare = childProcess.spawnSync("unshare", ["-pf", "true"]).status === 0;
  for (const { name, options } of runtimes) {
    await threads.try(name, async () => {
      const dir = fresh();
      const times = short ? 10 : 200;
      const child = new Child("threads", [dir, 8, times], options);
      await child.says(String(8 * times));
      same(await child.exit(), 0);
    });
    threads.trials += 8 * (short ? 10 : 200) - 1;

    await few.try(name, async () => {
      const dir = fresh();
      const count = short ? 500 : 5_000;
      const child = new Child("manyAtOnce", [dir, count], { ...options, shell: "ulimit -n 64" });
      await child.says("written");
      same([await child.exit(), fs.readdirSync(dir).length], [0, count]);
      few.trials += count - 1;
    });

    if (!unshare) continue;
    await containers.try(name, async () => {
      const dir = fresh();
      const file = path.join(dir, "file");
      const times = short ? 50 : 1_000;
      const start = () =>
        new Child("writeMany", [file, times], { ...options, shell: 'set -- unshare -pf "$@"' });
      const children = [start(), start()];
      const pids = await Promise.all(children.map((child) => child.line()));
      same(pids[0], pids[1]); // Without equal pids this would prove nothing.
      same(await Promise.all(children.map((child) => child.exit())), [0, 0]);
      same(fs.readdirSync(dir), ["file"]);
      numberOf(fs.readFileSync(file));
      containers.trials += 2 * times - 1;
    });
  }

  const worn = new Tally();
  let growth = "";
  for (const { name, options } of runtimes) {
    await worn.try(name, async () => {
      const count = short ? 2_000 : 100_000;
      const [command, ...args] = options.worker ?? [];
      const child = new Child(
        "wear",
        [fresh(), count],
        command === undefined
          ? { runtimeArgs: ["--v8-flags=--expose-gc"] }
          : { worker: [command, "--expose-gc", ...args] },
      );
      const [before, after] = [await child.line(), await child.line()].map((l) =>
        l.split(" ").map(Number)
      );
      same(await child.exit(), 0);
      same([before![0], after![0]], [0, 0]);
      const [, threads, objects, memory] = after!.map((now, i) => now - before![i]!);
      growth += `${growth && ", "}${name} ${objects} KiB of objects`;
      if (threads! > 2) throw new Error(`${threads} more threads`);
      if (objects! > 512) throw new Error(`${objects} KiB more of objects`);
      if (memory! > 32) throw new Error(`${memory} MiB more of memory`);
      worn.trials += count - 1;
    });
  }
  fs.rmSync(base, { recursive: true });
  return [
    removed.row(
      "Waiters for a removed directory's lock exclude each other",
      "removed or replaced during the wait",
    ),
    chdir.row("A relative path is resolved when the call starts", "chdir during the write"),
    threads.row("Threads in one process exclude each other", "8 worker threads count"),
    few.row("Concurrent writes need few descriptors", "64 descriptors"),
    ...unshare
      ? [containers.row("Containers with the same PID do not collide", "unshare -pf, one file")]
      : [],
    worn.row("Nothing leaks", `locks and writes; growth ${growth}`),
  ];
};
