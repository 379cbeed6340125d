import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { DirLock, LOCK_FILE_NAME } from "../../mod.ts";
import { inTempDir, list } from "../support/dir.ts";
import { isDeno, isRoot, test } from "../support/test.ts";
import {
  command,
  isFree,
  onUnix,
  Run,
  run,
  start,
  startOnTerminal,
  withTerminal,
} from "./command.ts";

const withFlock = {
  skip: spawnSync("flock", ["--version"]).status !== 0 && "requires flock(1)",
};
const withCapabilities = {
  skip: (process.platform !== "linux" || !isRoot ||
    spawnSync("setpriv", ["--version"]).status !== 0) &&
    "needs root on Linux and setpriv(1), to run a command as another user",
};

/** A command that prints "ready" and waits for a line. */
const UNTIL_LINE = ["sh", "-c", "echo ready; read line; echo ended"];
/** A command that prints "ready" and runs until a signal terminates it. */
const UNTIL_SIGNAL = ["sh", "-c", "echo ready; while :; do sleep 0.02; done"];
/**
 * The end of a message that names this process as the lock's holder. Outside Linux, and on Deno
 * without --allow-all, the holder cannot be identified, so messages omit this part.
 */
const BY_THIS_PROCESS = process.platform !== "linux" || isDeno
  ? ""
  : ` (held by process ${process.pid})`;

test(
  "`lock` runs the command with its input, environment and arguments",
  () =>
    inTempDir(async (dir) => {
      const script = 'cat; echo "$1 $GIVEN"; exit 3';
      const args = ["lock", "-n", ".", "--", "env", "GIVEN=b", "sh", "-c", script, "sh", "-n"];
      assertEquals(await run(dir, args, "typed\n"), { code: 3, out: "typed\n-n b\n", err: "" });
      assert(isFree(dir));
    }),
  onUnix,
);

test(
  "`lock` exits with 127 and releases the lock when the command is not found",
  () =>
    inTempDir(async (dir) => {
      const err = "aperture-atomic: Cannot run 'missing': not found\n";
      assertEquals(await run(dir, ["lock", ".", "missing"]), { code: 127, out: "", err });
      assert(isFree(dir));
    }),
  onUnix,
);

test("`lock` refuses a missing directory unless --parents is given", () =>
  inTempDir(async (dir) => {
    const [refused, created] = await Promise.all([
      run(dir, ["lock", "typo", "echo", "never"]),
      run(dir, ["lock", "--parents", "a/b", "echo", "in"]),
    ]);
    const err =
      "aperture-atomic: Cannot lock 'typo': no such directory (use --parents to create it)\n";
    assertEquals(refused, { code: 74, out: "", err });
    assertEquals(created, { code: 0, out: "in\n", err: "" });
    assertEquals([list(dir), list(path.join(dir, "a"))], [["a"], ["b"]]);
  }));

test("`lock` refuses a path that is a file", () =>
  inTempDir(async (dir) => {
    fs.writeFileSync(path.join(dir, "file"), "");
    const { code, err } = await run(dir, ["lock", "file/", "echo", "never"]);
    assertEquals([code, err.startsWith("aperture-atomic: Cannot lock '")], [74, true], err);
  }), onUnix);

test("`lock` exits with the conflict code when the lock does not become free in time", () =>
  inTempDir(async (dir) => {
    using _held = await DirLock.acquire(dir);
    const cases: [args: string[], code: number][] = [
      [["-n"], 75],
      [["-snE", "9"], 9],
      [["-w", "0.05", "--conflict-code", "0"], 0],
    ];
    await Promise.all(cases.map(async ([args, code]) => {
      const end = await run(dir, ["lock", ...args, ".", "echo", "never"]);
      assertEquals(end, { code, out: "", err: "" });
    }));
  }));

test("`lock --lock-file` acquires a different lock in the directory", () =>
  inTempDir(async (dir) => {
    using _held = await DirLock.acquire(dir);
    const end = await run(dir, ["lock", "-n", "--lock-file", "other", ".", "echo", "in"]);
    assertEquals(end, { code: 0, out: "in\n", err: "" });
  }));

test("`lock --shared` shares the lock with other shared holders", () =>
  inTempDir(async (dir) => {
    using _held = await DirLock.acquire(dir, { shared: true });
    const [shared, alone] = await Promise.all([
      run(dir, ["lock", "-sn", ".", "echo", "shared"]),
      run(dir, ["lock", "-n", ".", "echo", "alone"]),
    ]);
    assertEquals([shared.out, alone.code], ["shared\n", 75]);
  }));

test("`lock --verbose` names the lock's holder after a second, and later acquires the lock", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const waiting = start(dir, "lock", "--verbose", ".", "echo", "served");
    await waiting.until(() => waiting.err.endsWith("\n"));
    held.release();
    assertEquals(await waiting.end(), {
      code: 0,
      out: "served\n",
      err: `aperture-atomic: Waiting for the lock on '.'${BY_THIS_PROCESS}\n`,
    });
  }));

test("`lock --verbose -n` reports that the lock is not free, and which process holds it", () =>
  inTempDir(async (dir) => {
    using _held = await DirLock.acquire(dir);
    assertEquals(await run(dir, ["lock", "--verbose", "-n", ".", "echo", "never"]), {
      code: 75,
      out: "",
      err: `aperture-atomic: The lock on '.' is not free${BY_THIS_PROCESS}\n`,
    });
  }));

test("`lock` is verbose by default on a terminal", () =>
  inTempDir(async (dir) => {
    const held = await DirLock.acquire(dir);
    const [waiting, refused] = [
      startOnTerminal(dir, "lock", ".", "echo", "served"),
      startOnTerminal(dir, "lock", "-n", ".", "echo", "never"),
    ];
    const prefix = "aperture-atomic: ";
    assertEquals(await refused.line(), `${prefix}The lock on '.' is not free${BY_THIS_PROCESS}`);
    assertEquals(await waiting.line(), `${prefix}Waiting for the lock on '.'${BY_THIS_PROCESS}`);
    held.release();
    assertEquals([await waiting.line(), await waiting.exit()], ["served", 0]);
    assertEquals(await refused.exit(), 75);
  }), withTerminal);

test("`lock` exits with 128 + n when signal n interrupts its wait", () =>
  inTempDir(async (dir) => {
    using _held = await DirLock.acquire(dir);
    const waiting = start(dir, "lock", "--verbose", ".", "echo", "never");
    await waiting.until(() => waiting.err.endsWith("\n"));
    waiting.signal("SIGTERM");
    const { code, out } = await waiting.end();
    assertEquals([code, out], [143, ""]);
  }), onUnix);

test(
  "`lock` forwards signals, and holds the lock until the command exits",
  () =>
    inTempDir(async (dir) => {
      const signals = ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "ALRM"];
      const traps = signals.map((name) => `trap 'echo got ${name}' ${name}`).join("; ");
      const script = `${traps}; echo ready; until [ -e stop ]; do sleep 0.02; done; exit 5`;
      const running = start(dir, "lock", ".", "sh", "-c", script);
      await running.says("ready");
      for (const name of signals) {
        running.signal(`SIG${name}`);
        assertEquals(await running.line(), `got ${name}`);
      }
      assert(!isFree(dir));
      fs.writeFileSync(path.join(dir, "stop"), "");
      assertEquals(await running.exit(), 5);
      assert(isFree(dir));
    }),
  onUnix,
);

test(
  "`lock` exits with 128 + n when forwarded signal n terminates the command",
  () =>
    inTempDir(async (dir) => {
      const running = start(dir, "lock", ".", ...UNTIL_SIGNAL);
      await running.says("ready");
      running.signal("SIGTERM");
      assertEquals(await running.exit(), 143);
    }),
  onUnix,
);

test(
  "`lock` waits for a command that it is not permitted to signal",
  () =>
    inTempDir(async (dir) => {
      const withoutKill = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"] as const;
      const asOther = ["setpriv", "--reuid=65534", "--clear-groups"];
      const running = new Run(
        [...withoutKill, ...command(), "lock", ".", ...asOther, ...UNTIL_LINE],
        dir,
      );
      await running.says("ready");
      running.signal("SIGTERM");
      running.signal("SIGHUP");
      running.process.stdin!.end("\n");
      assertEquals([await running.line(), await running.exit()], ["ended", 0]);
    }),
  withCapabilities,
);

test(
  "`lock` keeps waiting after SIGHUP when nohup(1) runs the command",
  () =>
    inTempDir(async (dir) => {
      const running = start(dir, "lock", ".", "nohup", ...UNTIL_LINE);
      await running.says("ready");
      running.signal("SIGHUP");
      running.process.stdin!.end("\n");
      assertEquals([await running.line(), await running.exit()], ["ended", 0]);
    }),
  onUnix,
);

test(
  "`lock` releases the lock when killed, even if the command keeps running",
  () =>
    inTempDir(async (dir) => {
      const running = start(dir, "lock", ".", ...UNTIL_LINE);
      await running.says("ready");
      assert(!isFree(dir));
      running.signal("SIGKILL");
      assertEquals(await running.exit(), "SIGKILL");
      assert(isFree(dir));
      running.process.stdin!.end("\n");
      assertEquals(await running.line(), "ended");
    }),
  onUnix,
);

test(
  "`lock` does not forward ^C from a terminal, because the terminal itself signals the command",
  () =>
    inTempDir(async (dir) => {
      // setsid(1) starts the command in its own session, where the terminal does not signal it.
      const script = "trap 'echo interrupted' INT; echo ready; " +
        "until [ -e stop ]; do echo on; sleep 0.02; done; echo ended; exit 5";
      const terminal = startOnTerminal(dir, "lock", ".", "setsid", "sh", "-c", script);
      await terminal.says("ready");
      terminal.process.stdin!.write("\x03");
      assertEquals(await terminal.says("^C"), "^Con");
      for (let i = 0; i < 10; i++) assertEquals(await terminal.line(), "on");
      assert(!isFree(dir));
      fs.writeFileSync(path.join(dir, "stop"), "");
      let line = "on";
      while (line === "on") line = await terminal.line();
      assertEquals([line, await terminal.exit()], ["ended", 5]);
    }),
  withTerminal,
);

test("`lock` and flock(1) exclude each other", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, LOCK_FILE_NAME);
    const flock = (...args: string[]) => spawnSync("flock", [...args, file, "true"]).status;
    const running = start(dir, "lock", ".", ...UNTIL_LINE);
    await running.says("ready");
    assertEquals(flock("-n"), 1);
    running.process.stdin!.end("\n");
    assertEquals([await running.exit(), flock("-n")], [0, 0]);

    const holder = new Run(["flock", file, ...UNTIL_LINE], dir);
    await holder.says("ready");
    assertEquals((await run(dir, ["lock", "-n", ".", "echo", "in"])).code, 75);
    holder.process.stdin!.end("\n");
    await holder.exit();
  }), withFlock);

// From util-linux's tests/ts/misc/flock.
test("`lock` passes util-linux's tests of flock(1)", () =>
  inTempDir(async (dir) => {
    const holder = start(dir, "lock", "--shared", ".", ...UNTIL_LINE);
    await holder.says("ready");
    const cases: [options: string, code: number, out: string][] = [
      ["--nonblock --conflict-exit-code 123", 123, ""],
      ["--shared", 0, "locked\n"],
      ["--nonblock --exclusive --conflict-exit-code 123", 123, ""],
    ];
    await Promise.all(cases.map(async ([options, code, out]) => {
      const end = await run(dir, ["lock", ...options.split(" "), ".", "echo", "locked"]);
      assertEquals(end, { code, out, err: "" });
    }));
    const options = ["--timeout", "60", "--conflict-exit-code", "5"];
    const waiting = start(dir, "lock", ...options, ".", "echo", "after");
    holder.process.stdin!.end("\n");
    assertEquals(await waiting.end(), { code: 0, out: "after\n", err: "" });
    assertEquals(await holder.exit(), 0);
  }), onUnix);
