import { assert, assertEquals, assertRejects } from "@std/assert";
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import type { Arguments } from "../../internal/cli/arguments.ts";
import { ExitError } from "../../internal/cli/errors.ts";
import { write } from "../../internal/cli/write.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { isBun, isRoot, isWindows, test } from "../support/test.ts";
import { onUnix, run, runInShell, start, startOnTerminal, withTerminal } from "./command.ts";

const withChildren = {
  skip: (process.platform !== "linux" || spawnSync("pgrep", ["-V"]).status !== 0) &&
    "needs Linux and pgrep(1)",
};
const withMounts = {
  skip: (process.platform !== "linux" || !isRoot) &&
    "requires root on Linux, to mount a small disk",
};

/** Calls `fn` with a new directory and a file in it that contains "old". */
function withOldFile(fn: (dir: string, file: string) => Promise<void>): Promise<void> {
  return inTempDir((dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    return fn(dir, file);
  });
}

test("`write` replaces a file's content with its standard input", () =>
  withOldFile(async (dir, file) => {
    const long = "0123456789abcdef".repeat(1 << 16);
    const end = await run(dir, ["write", "--durability", "none", "file"], long);
    assertEquals(end, { code: 0, out: "", err: "" });
    assert(text(file) === long);
    assertEquals((await run(dir, ["write", "file"], "")).code, 0);
    assertEquals([text(file), list(dir)], ["", ["file"]]);
  }));

test("`write` applies --mode and --parents", () =>
  inTempDir(async (dir) => {
    const ends = await Promise.all([
      run(dir, ["write", "--mode", "600", "--", "-file"], "x"),
      run(dir, ["write", "--parents", "a/b/file"], "y"),
    ]);
    assertEquals(ends.map(({ code }) => code), [0, 0]);
    const [dashed, nested] = [path.join(dir, "-file"), path.join(dir, "a", "b", "file")];
    assertEquals([text(dashed), text(nested)], ["x", "y"]);
    if (!isWindows) assertEquals(fs.statSync(dashed).mode & 0o777, 0o600);
  }));

test("`write` refuses a target that it cannot replace", () =>
  withOldFile(async (dir, file) => {
    fs.mkdirSync(path.join(dir, "d"));
    const cases = [["d"], ["--create-new", "file"], ["missing/file"]];
    await Promise.all(cases.map(async (args) => {
      const { code, err } = await run(dir, ["write", ...args], "new");
      assertEquals([code, err.startsWith("aperture-atomic: Cannot write ")], [74, true], err);
    }));
    assertEquals([text(file), list(dir)], ["old", ["d", "file"]]);
  }));

test(
  "`write` reads from the current position when its standard input is a file",
  () =>
    withOldFile(async (dir, file) => {
      fs.writeFileSync(path.join(dir, "input"), "header\nbody\n");
      const { code } = await runInShell(dir, '{ read -r line; "$@"; } < input', "write", "file");
      assertEquals([code, text(file)], [0, "body\n"]);
    }),
  onUnix,
);

for (const [what, script] of [["closed", '"$@" <&-'], ["the null device", '"$@" < /dev/null']]) {
  test(
    `\`write\` exits with 64 when its standard input is ${what}`,
    () =>
      withOldFile(async (dir, file) => {
        const err =
          "aperture-atomic: No input. To publish an empty file, use: write FILE -- true\n";
        assertEquals(await runInShell(dir, script!, "write", "file"), { code: 64, out: "", err });
        assertEquals([text(file), list(dir)], ["old", ["file"]]);
      }),
    onUnix,
  );
}

test(
  "`write` fails when its standard input is a directory",
  () =>
    withOldFile(async (dir, file) => {
      const { code } = await runInShell(dir, '"$@" < .', "write", "file");
      assertEquals([code, text(file)], [74, "old"]);
    }),
  onUnix,
);

test("`write` on a terminal writes what is typed before ^D", () =>
  inTempDir(async (dir) => {
    const terminal = startOnTerminal(dir, "write", "file");
    terminal.process.stdin!.write("typed\n\x04");
    assertEquals(await terminal.exit(), 0);
    assertEquals(text(path.join(dir, "file")), "typed\n");
  }), withTerminal);

test(
  "`write` leaves the file unchanged when a signal terminates it while it reads its input",
  () =>
    withOldFile(async (dir, file) => {
      const cases: [signal: string, code: number][] = [
        ["SIGHUP", 129],
        ["SIGINT", 130],
        ["SIGTERM", 143],
        ["SIGUSR2", 128 + os.constants.signals.SIGUSR2],
        ["SIGALRM", 142],
      ];
      const runs = cases.map(() => start(dir, "write", "file"));
      await runs[0]!.until(() => {
        for (const { process: { stdin } } of runs) {
          if (!stdin!.writableNeedDrain) stdin!.write("x".repeat(65_536));
        }
        return list(dir).length === 1 + runs.length;
      });
      for (const [i, [signal, code]] of cases.entries()) {
        runs[i]!.signal(signal);
        assertEquals(await runs[i]!.exit(), code);
        runs[i]!.process.stdin!.destroy();
      }
      assertEquals([text(file), list(dir)], ["old", ["file"]]);
    }),
  onUnix,
);

test(
  "`write` publishes a command's output only if the command exits with 0",
  () =>
    inTempDir(async (dir) => {
      const cases: [command: string[], code: number, content: string][] = [
        [["echo", "one"], 0, "one\n"],
        [["sh", "-c", "echo half; exit 7"], 7, "old"],
        [["sh", "-c", "echo half; kill -KILL $$"], 137, "old"],
        [["missing"], 127, "old"],
        [["true"], 0, ""],
        [["cat", "5", "-"], 0, "oldtyped"],
      ];
      await Promise.all(cases.map(async ([command, code, content], i) => {
        const file = path.join(dir, String(i));
        fs.writeFileSync(file, "old");
        const end = await run(dir, ["write", String(i), "--", ...command], "typed");
        assertEquals([end.code, end.out, text(file)], [code, "", content]);
      }));
      assertEquals(list(dir), ["0", "1", "2", "3", "4", "5"]);
    }),
  onUnix,
);

test(
  "`write` forwards a signal, and does not wait for descendants of the command",
  () =>
    inTempDir(async (dir) => {
      const script = "echo half; touch up; sleep 60; :";
      const writing = start(dir, "write", "file", "--", "sh", "-c", script);
      let sleeps: number[] = [];
      await writing.until(() => {
        if (!list(dir).includes("up")) return false;
        sleeps = childrenOf(writing.process.pid!).flatMap((pid) => childrenOf(pid));
        return sleeps.length > 0;
      });
      writing.signal("SIGTERM");
      assertEquals([await writing.exit(), list(dir)], [143, ["up"]]);
      // The descendants are still running and hold the output open. Once a process has exited, its
      // /proc/PID/cmdline is empty.
      assert(sleeps.every((pid) => text(`/proc/${pid}/cmdline`).startsWith("sleep")));
      for (const pid of sleeps) process.kill(pid);
    }),
  withChildren,
);

function childrenOf(pid: number): number[] {
  const { stdout } = spawnSync("pgrep", ["-P", String(pid)]);
  return String(stdout).trim().split("\n").filter(Boolean).map(Number);
}

test(
  "`write` publishes nothing after a signal, even if the command then exits with 0",
  () =>
    inTempDir(async (dir) => {
      const script = "trap 'exit 0' TERM; echo half; touch up; while :; do sleep 0.02; done";
      const writing = start(dir, "write", "file", "--", "sh", "-c", script);
      await writing.until(() => list(dir).includes("up"));
      writing.signal("SIGTERM");
      assertEquals([await writing.exit(), list(dir)], [143, ["up"]]);
    }),
  onUnix,
);

test(
  "`write` publishes nothing when a signal arrives as the command exits",
  () =>
    inTempDir(async (dir) => {
      const args = ["write", "file", "--", "sh", "-c", "echo half; kill $PPID"];
      for (let i = 0; i < 3; i++) {
        assertEquals([(await run(dir, args)).code, list(dir)], [143, []]);
      }
    }),
  onUnix,
);

test(
  "`write` leaves no temporary file when a signal arrives as it publishes the file",
  () =>
    withOldFile(async (dir, file) => {
      const script = "head -c 100000000 /dev/zero; touch done";
      const writing = start(dir, "write", "file", "--", "sh", "-c", script);
      await writing.until(() => list(dir).includes("done"));
      writing.signal("SIGTERM");
      const code = await writing.exit();
      // On a fast disk, the write may complete before the signal arrives.
      assert(code === 0 || code === 143, `${code}`);
      const size = code === 0 ? 100_000_000 : 3;
      assertEquals([fs.statSync(file).size, list(dir)], [size, ["done", "file"]]);
    }),
  onUnix,
);

test(
  "`write` exits after a signal even if a descendant keeps the command's output open",
  () =>
    inTempDir(async (dir) => {
      const script = "trap '' TERM; sleep 60 & echo $! > up; kill $PPID";
      const writing = start(dir, "write", "file", "--", "sh", "-c", script);
      assertEquals([await writing.exit(), list(dir)], [143, ["up"]]);
      process.kill(Number(text(path.join(dir, "up"))), "SIGKILL");
    }),
  onUnix,
);

test(
  "`write` stops the command and leaves the file unchanged when the disk is full",
  () =>
    inTempDir(async (dir) => {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", dir]);
      try {
        fs.writeFileSync(path.join(dir, "file"), "old");
        const { code, err } = await run(dir, ["write", "file", "--", "yes"]);
        assertEquals([code, err.includes("aperture-atomic: Cannot write ")], [74, true], err);
        assertEquals([text(path.join(dir, "file")), list(dir)], ["old", ["file"]]);
      } finally {
        execFileSync("umount", [dir]);
      }
    }),
  withMounts,
);

test("`write` refuses to run a command on Bun for Windows, which truncates exit codes", async () => {
  const platform = Object.getOwnPropertyDescriptor(process, "platform")!;
  Object.defineProperty(process, "platform", { value: "win32", configurable: true });
  if (!isBun) Object.defineProperty(globalThis, "Bun", { value: {}, configurable: true });
  try {
    const given = write.read(["file", "--", "true"]) as Arguments;
    const error = await assertRejects(() => write.run(given), ExitError);
    assertEquals(error.exitCode, 69);
  } finally {
    Object.defineProperty(process, "platform", platform);
    if (!isBun) Reflect.deleteProperty(globalThis, "Bun");
  }
});
