/**
 * A call that waits in its thread's queue keeps the process alive, and fake timers do not stall it.
 */
import { assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { inTempDir } from "../support/dir.ts";
import { isDeno, test } from "../support/test.ts";

const library = new URL(isDeno ? "../../mod.ts" : "../../mod.js", import.meta.url).href;

/**
 * Runs a program that contains `code`; returns its output and exit code. In `code`, `lock` is a
 * held lock on the directory `dir`, and `later` calls a function from a timer that does not keep
 * the process alive.
 */
async function run(dir: string, code: string): Promise<[output: string, exitCode: number]> {
  const program = path.join(dir, "program.mjs");
  fs.writeFileSync(
    program,
    `
    import process from "node:process";
    import { setTimeout } from "node:timers";
    import { isMainThread, Worker } from "node:worker_threads";
    const module = await import(${JSON.stringify(library)});
    const { DirLock } = module.DirLock ? module : module.default;
    const dir = ${JSON.stringify(dir)};
    const later = (fn) => setTimeout(fn, 100).unref();
    const lock = await DirLock.acquire(dir);
    ${code}`,
  );
  const deno = ["run", "-A", "--quiet", ...JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]")];
  const child = spawn(process.execPath, [...isDeno ? deno : [], program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk) => output += chunk);
  const [exitCode] = await once(child, "close");
  return [output.trim(), exitCode];
}

const WAITS: [where: string, code: string, output: string][] = [
  [
    "awaited at the top level",
    `
    later(() => lock.release());
    await DirLock.acquire(dir);
    console.log("acquired");`,
    "acquired",
  ],
  [
    "awaited in a function",
    `
    later(() => lock.release());
    DirLock.acquire(dir).then(() => console.log("acquired"));`,
    "acquired",
  ],
  [
    "with a signal that is aborted later",
    `
    const signal = AbortSignal.timeout(100);
    DirLock.acquire(dir, { signal }).catch(({ name }) => console.log(name));`,
    "TimeoutError",
  ],
  [
    "without an await",
    `
    DirLock.acquire(dir);
    later(() => {
      console.log("alive");
      process.exit();
    });`,
    "alive",
  ],
];

for (const [where, code, output] of WAITS) {
  test(`DirLock.acquire() ${where} keeps the process alive when its own thread holds the lock`, () =>
    inTempDir(async (dir) => assertEquals(await run(dir, code), [output, 0])));
}

test("DirLock.acquire() keeps a worker alive when its own thread holds the lock", () =>
  inTempDir(async (dir) => {
    const [output] = await run(
      dir,
      `
      if (isMainThread) {
        lock.release();
        new Worker(process.argv[1]);
      } else {
        later(() => lock.release());
        DirLock.acquire(dir).then((lock) => {
          lock.release();
          console.log("acquired");
        });
      }`,
    );
    assertEquals(output, "acquired");
  }));

test("DirLock.acquire() does not keep the process alive once no call is waiting", () =>
  inTempDir(async (dir) => {
    const outcome = await run(
      dir,
      `
      await DirLock.acquire(dir, { timeout: 5 }).catch(() => {});
      console.log("over");`,
    );
    assertEquals(outcome, ["over", 0]);
  }));

test("DirLock.acquire() can repeatedly acquire a free lock when the program's timers are fake", () =>
  inTempDir(async (dir) => {
    const outcome = await run(
      dir,
      `
      globalThis.setTimeout = globalThis.setInterval = () => 0;
      let held = lock;
      for (let i = 0; i < 20; i++) {
        // Hold the lock long enough that the next call yields to other processes.
        for (const end = performance.now() + 25; performance.now() < end;);
        held.release();
        held = await DirLock.acquire(dir);
      }
      held.release();
      console.log("done");`,
    );
    assertEquals(outcome, ["done", 0]);
  }));
