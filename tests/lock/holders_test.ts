/** The processes that hold a lock, as far as the system reports them. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { DirLock, LOCK_FILE_NAME, lockHolders, LockTimeoutError } from "../../mod.ts";
import { Child, until } from "../support/child.ts";
import { inTempDir } from "../support/dir.ts";
import { recorded } from "../support/runtime.ts";
import { endWithTest, isDeno, test } from "../support/test.ts";
import "../support/worker.ts";

const isLinux = process.platform === "linux";
const skip = !isLinux && "only Linux reports the holders of a lock";
const skipUtilities = !isLinux && "requires flock(1)";

/** Calls `fn` with a process ID while that process holds the lock. */
async function whileHeld(
  dir: string,
  how: "exclusive" | "shared",
  fn: (pid: number) => Promise<void>,
): Promise<void> {
  const child = new Child("hold", [dir, how]);
  try {
    await child.says("held");
    await fn(child.process.pid!);
  } finally {
    await child.kill();
  }
}

test(
  "lockHolders() returns null when the system does not report holders",
  () =>
    inTempDir(async (dir) => {
      const lock = await DirLock.acquire(dir);
      assertEquals(await lockHolders(dir), null);
      const error = await assertRejects(
        () => DirLock.acquire(dir, { timeout: 5 }),
        LockTimeoutError,
      );
      assertEquals(error.holders, null);
      lock.release();
    }),
  { skip: isLinux && "Linux reports holders" },
);

test("lockHolders() returns an empty array when the lock is free", () =>
  inTempDir(async (dir) => {
    assertEquals(await lockHolders(dir), []);
    assertEquals(fs.readdirSync(dir), []);
    DirLock.acquireSync(dir).release();
    assertEquals(await lockHolders(dir), []);
  }), { skip });

test(
  "lockHolders() returns this process's ID when this process holds the lock",
  () =>
    inTempDir(async (dir) => {
      for (const shared of [false, true]) {
        const lock = await DirLock.acquire(dir, { shared });
        assertEquals(await lockHolders(dir), [process.pid]);
        lock.release();
      }
    }),
  { skip },
);

test(
  "lockHolders() returns the IDs of all processes that share the lock",
  () =>
    inTempDir(async (dir) => {
      await whileHeld(dir, "shared", (one) =>
        whileHeld(dir, "shared", async (other) => {
          const holders = await lockHolders(dir);
          assertEquals(holders!.toSorted(), [one, other].toSorted());
        }));
      assertEquals(await lockHolders(dir), []);
    }),
  { skip },
);

test(
  "lockHolders() reports the holders of the lock file that `lockFileName` names",
  () =>
    inTempDir(async (dir) => {
      const lock = await DirLock.acquire(dir, { lockFileName: "another" });
      assertEquals(await lockHolders(dir, { lockFileName: "another" }), [process.pid]);
      assertEquals(await lockHolders(dir), []);
      lock.release();
    }),
  { skip },
);

test(
  "lockHolders() does not return a process that waits for the lock",
  () =>
    inTempDir((dir) =>
      whileHeld(dir, "exclusive", async (holder) => {
        const waiter = spawn("flock", [path.join(dir, LOCK_FILE_NAME), "true"], {
          stdio: "ignore",
        });
        endWithTest(waiter);
        const waits = new RegExp(`-> FLOCK +ADVISORY +WRITE +${waiter.pid} `);
        try {
          await until(() => waits.test(fs.readFileSync("/proc/locks", "utf8")), waiter);
          assertEquals(await lockHolders(dir), [holder]);
        } finally {
          waiter.kill();
          await once(waiter, "close");
        }
      })
    ),
  { skip: skipUtilities },
);

test(
  "lockHolders() returns null when a process has died but its child still holds the lock",
  () =>
    inTempDir(async (dir) => {
      const script = 'exec 9>>"$1"; flock 9; sleep 60 & echo $!';
      const file = path.join(dir, LOCK_FILE_NAME);
      const shell = spawn("bash", ["-c", script, "bash", file], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      endWithTest(shell);
      const lines = createInterface({ input: shell.stdout! })[Symbol.asyncIterator]();
      const sleeper = Number((await lines.next()).value);
      if (shell.exitCode === null) await once(shell, "exit");
      try {
        assertEquals(await DirLock.tryAcquire(dir), null);
        // Linux reports only the process that called flock(2), and that process has exited.
        assertEquals(await lockHolders(dir), null);
      } finally {
        process.kill(sleeper, "SIGKILL");
      }
    }),
  { skip: skipUtilities },
);

test(
  "LockTimeoutError.holders names the process that holds the lock",
  () =>
    inTempDir((dir) =>
      whileHeld(dir, "exclusive", async (holder) => {
        for (const timeout of [0, 5]) {
          const error = await assertRejects(
            () => DirLock.acquire(dir, { timeout }),
            LockTimeoutError,
          );
          assertEquals(error.holders, [holder]);
          const thrown = assertThrows(
            () => DirLock.acquireSync(dir, { timeout }),
            LockTimeoutError,
          );
          assertEquals(thrown.holders, [holder]);
        }
      })
    ),
  { skip },
);

test(
  "LockTimeoutError.holders names this process when it holds the lock",
  () =>
    inTempDir(async (dir) => {
      const lock = await DirLock.acquire(dir);
      const error = await assertRejects(
        () => DirLock.acquire(dir, { timeout: 5 }),
        LockTimeoutError,
      );
      assertEquals(error.holders, [process.pid]);
      lock.release();
    }),
  { skip },
);

test(
  "DirLock.acquire() does not read /proc/locks when the lock is free",
  () =>
    inTempDir(async (dir) => {
      DirLock.acquireSync(dir).release();
      const calls = await recorded(async () => {
        (await DirLock.acquire(dir, { timeout: 1_000 })).release();
        DirLock.acquireSync(dir).release();
      });
      assertEquals(calls.filter(({ args }) => String(args[0]).startsWith("/proc")), []);
    }),
  { skip },
);

const terminal = spawnSync("script", ["--version"]).status === 0;

test(
  "lockHolders() returns null without prompting when Deno has permissions only for the directory",
  () =>
    inTempDir((root) => {
      const own = path.join(root, "own");
      const program = path.join(root, "program.ts");
      fs.mkdirSync(own);
      fs.writeFileSync(
        program,
        `
      import { DirLock, lockHolders } from ${
          JSON.stringify(new URL("../../mod.ts", import.meta.url).href)
        };
      const dir = ${JSON.stringify(own)};
      const lock = await DirLock.acquire(dir);
      console.log("holders", await lockHolders(dir));
      try {
        await DirLock.acquire(dir, { timeout: 5 });
      } catch (error) {
        console.log(error.name, error.holders);
      }
      lock.release();
    `,
      );
      const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
      const command = [process.execPath, "run", "--quiet", "--no-check", "--config", config];
      command.push(...JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]"));
      command.push(`--allow-read=${own}`, `--allow-write=${own}`, program);
      // Run the program in a terminal, because Deno prompts only there.
      const { stdout } = spawnSync("script", ["-qec", command.join(" "), "/dev/null"], {
        encoding: "utf8",
        env: { ...process.env, NO_COLOR: "1", SHELL: "/bin/sh" },
        timeout: 20_000,
        input: "",
      });
      assertEquals(stdout.trim().split(/\r?\n/), ["holders null", "LockTimeoutError null"]);
    }),
  { skip: !isDeno && "only Deno has permissions" || !terminal && "requires script(1)" },
);
