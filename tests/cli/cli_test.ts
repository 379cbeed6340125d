import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type ChildProcess,
  execFileSync,
  spawn,
  spawnSync,
  type StdioOptions,
} from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
// It does nothing when it is imported.
import "../../cli.ts";
import { readCommandLine, UsageError } from "../../internal/cli/arguments.ts";
import { HELP } from "../../internal/cli/help.ts";
import { VERSION } from "../../internal/cli/version.ts";
import { DirLock, LOCK_FILE_NAME } from "../../mod.ts";
import { Child, until } from "../support/child.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { endWithTest, isDeno, isRoot, isWindows, test } from "../support/test.ts";

const onUnix = { skip: isWindows && "its commands are those of Unix" };
const withFlock = {
  skip: spawnSync("flock", ["--version"]).status !== 0 && "there is no flock(1)",
};
const withTerminal = {
  skip: (process.platform !== "linux" || spawnSync("script", ["--version"]).status !== 0) &&
    "there is no script(1) of util-linux, to make a terminal",
};
const withCapabilities = {
  skip: (process.platform !== "linux" || !isRoot ||
    spawnSync("setpriv", ["--version"]).status !== 0) &&
    "needs root on Linux and setpriv(1), to have a command of another user",
};
const withMounts = {
  skip: (process.platform !== "linux" || !isRoot) && "needs root on Linux, to mount a small disk",
};

const cli = fileURLToPath(
  new URL(`../../cli.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url),
);

/** The command on this runtime, with no more permissions than it says that it needs. */
function command(file = cli): [string, ...string[]] {
  if (!isDeno) return [process.execPath, file];
  const permissions = ["--allow-read", "--allow-write", "--allow-run", "--no-prompt", "--quiet"];
  const more = JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]");
  return [process.execPath, "run", ...permissions, ...more, file];
}

/** How the command has ended. */
interface End {
  code: number | string;
  out: string;
  err: string;
}

/** The command while it runs. */
class Run {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exit: Promise<unknown[]>;

  constructor([file, ...args]: [string, ...string[]], cwd: string, stdio: StdioOptions = "pipe") {
    this.process = spawn(file, args, { cwd, stdio });
    endWithTest(this.process);
    this.#exit = once(this.process, "exit");
    this.#lines = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const { done, value } = await this.#lines.next();
    return done ? "(the end)" : value.trimEnd();
  }

  /** Waits for a line that has `part` in it. */
  async says(part: string): Promise<string> {
    for (;;) {
      const line = await this.line();
      if (line.includes(part)) return line;
      if (line === "(the end)") throw new Error(`It did not say "${part}"`);
    }
  }

  /** Sends a signal. Not by ChildProcess.kill(): on Deno that takes it for the cause of any end. */
  signal(signal: string): void {
    process.kill(this.process.pid!, signal);
  }

  async exit(): Promise<number | string> {
    const [code, signal] = await this.#exit;
    return (code ?? signal) as number | string;
  }
}

/** Starts the command. */
function start(cwd: string, ...args: string[]): Run {
  return new Run([...command(), ...args], cwd);
}

/** Runs the command to its end. */
function run(cwd: string, args: string[], input = ""): End {
  const [file, ...before] = command();
  const { status, signal, stdout, stderr } = spawnSync(file, [...before, ...args], {
    cwd,
    input,
    timeout: 30_000,
  });
  return { code: status ?? signal!, out: String(stdout), err: String(stderr) };
}

/** A shell's script that says that it is ready, and goes on until a signal ends it. */
const untilSignal = (
  traps = "",
) => ["sh", "-c", `${traps} echo ready; while :; do sleep 0.02; done`];

function isFree(dir: string): boolean {
  const lock = DirLock.tryAcquireSync(dir);
  lock?.release();
  return lock !== null;
}

test("aperture-atomic --help fits 80 columns and names every option", () => {
  assertEquals(HELP.split("\n").filter((line) => line.length > 80), []);
  for (const option of ["--shared", "--nonblock", "--try", "--timeout", "--conflict-code"]) {
    assert(HELP.includes(option), option);
  }
  assert(HELP.includes("Examples:"));
});

test("aperture-atomic --help and --version print and succeed", () =>
  inTempDir((dir) => {
    assertEquals(run(dir, ["--help"]), { code: 0, out: HELP, err: "" });
    assertEquals(run(dir, ["lock", "--help"]), { code: 0, out: HELP, err: "" });
    assertEquals(run(dir, ["--version"]), { code: 0, out: `${VERSION}\n`, err: "" });
  }));

test("aperture-atomic --version is that of deno.json", () => {
  let dir = path.dirname(cli);
  while (!fs.existsSync(path.join(dir, "deno.json"))) {
    if (dir === path.dirname(dir)) throw new Error("There is no deno.json");
    dir = path.dirname(dir);
  }
  assertEquals(JSON.parse(text(path.join(dir, "deno.json"))).version, VERSION);
});

test("readCommandLine() reads options before DIR and right behind it, and no other", () => {
  const read = (...args: string[]) => {
    const asked = readCommandLine(["lock", ...args]);
    if (asked.name !== "lock") throw new Error(`It read ${asked.name}`);
    const { dir, command, shared, timeout, conflictCode } = asked;
    return [dir, [...command], shared, timeout, conflictCode];
  };
  assertEquals(read("d", "c"), ["d", ["c"], false, undefined, 75]);
  assertEquals(read("d", "--", "c", "-n"), ["d", ["c", "-n"], false, undefined, 75]);
  assertEquals(read("d", "c", "-n", "--", "-s"), [
    "d",
    ["c", "-n", "--", "-s"],
    false,
    undefined,
    75,
  ]);
  assertEquals(read("-s", "d", "-n", "--", "c"), ["d", ["c"], true, 0, 75]);
  assertEquals(read("-sw", "2.5", "-E9", "d", "c"), ["d", ["c"], true, 2_500, 9]);
  assertEquals(read("-w.5", "d", "c"), ["d", ["c"], false, 500, 75]);
  assertEquals(read("--try", "d", "c"), ["d", ["c"], false, 0, 75]);
  assertEquals(read("-snE", "9", "d", "c"), ["d", ["c"], true, 0, 9]);
  assertEquals(read("-w", "0", "d", "c"), ["d", ["c"], false, 0, 75]);
  assertEquals(read("--wait=1", "--conflict-exit-code", "0", "-x", "d", "c"), [
    "d",
    ["c"],
    false,
    1_000,
    0,
  ]);
  assertEquals(read("--", "-d", "c"), ["-d", ["c"], false, undefined, 75]);
  assertEquals(read("--", "-d", "--", "-c", "-n"), ["-d", ["-c", "-n"], false, undefined, 75]);
});

test("readCommandLine() reads what there is to write", () => {
  assertEquals(readCommandLine(["write", "f"]), {
    name: "write",
    file: "f",
    command: undefined,
    options: {},
  });
  const all = ["--mode", "0640", "--durability=durable", "--create-new", "--parents"];
  assertEquals(readCommandLine(["write", ...all, "f", "--", "c", "--mode"]), {
    name: "write",
    file: "f",
    command: ["c", "--mode"],
    options: { mode: 0o640, durability: "durable", createNew: true, parents: true },
  });
});

test("readCommandLine() reads durations", () => {
  const read = (text: string) => {
    const asked = readCommandLine(["sweep", "--older-than", text, "d"]);
    if (asked.name !== "sweep") throw new Error(`It read ${asked.name}`);
    return asked.olderThan;
  };
  const wanted = { "0s": 0, "250ms": 250, "30s": 30_000, "1.5m": 90_000, "2h": 7_200_000 };
  for (const [text, milliseconds] of Object.entries(wanted)) {
    assertEquals(read(text), milliseconds);
  }
  assertEquals(read("1d"), 86_400_000);
});

test("readCommandLine() refuses what it does not know", () => {
  const wrong = [
    "",
    "frob",
    "-n lock d c",
    "lock",
    "lock d",
    "lock d --",
    "lock -s",
    "lock --bad d c",
    "lock d -c command",
    "lock -sx d c",
    "lock -w",
    "lock -w x d c",
    "lock -w -1 d c",
    "lock -w 1e3 d c",
    "lock -E 256 d c",
    "lock -E -1 d c",
    "lock --shared=1 d c",
    "lock --lock-file a/b d c",
    "lock --lock-file .. d c",
    "write",
    "write --mode 8 f",
    "write --mode 17777 f",
    "write --durability much f",
    "sweep",
    "sweep a b",
    "sweep --older-than 3 d",
    "holders",
    "holders a b",
    "holders --shared d",
  ];
  for (const line of wrong) {
    assertThrows(() => readCommandLine(line.split(" ").filter(Boolean)), UsageError);
  }
});

test("aperture-atomic tells wrong usage with exit code 64", () =>
  inTempDir((dir) => {
    const { code, out, err } = run(dir, ["lock", "--bad", "d", "c"]);
    assertEquals([code, out], [64, ""]);
    assert(err.startsWith("aperture-atomic: There is no option '--bad'\n"), err);
    assertEquals(list(dir), []);
  }));

test("aperture-atomic lock has the exit code of the command", () =>
  inTempDir((dir) => {
    const cases: [args: string[], code: number, out: string, err: string][] = [
      [["d", "echo", "hi"], 0, "hi\n", ""],
      [["d", "sh", "-c", "exit 3"], 3, "", ""],
      [["d", "-n", "--", "printf", "%s", "-n"], 0, "-n", ""],
      [["--", "-d", "--", "echo", "--"], 0, "--\n", ""],
      [["d", "sh", "-c", "kill -TERM $$"], 143, "", ""],
      [["d", "sh", "-c", "kill -KILL $$"], 137, "", ""],
      [["d", "./missing"], 127, "", "aperture-atomic: Cannot run './missing': it is not found\n"],
      [["d", "missing"], 127, "", "aperture-atomic: Cannot run 'missing': it is not found\n"],
      [["d", "."], 126, "", "aperture-atomic: Cannot run '.': it is not executable\n"],
      [["d", "./d"], 126, "", "aperture-atomic: Cannot run './d': it is not executable\n"],
      [["d", "./plain"], 126, "", "aperture-atomic: Cannot run './plain': it is not executable\n"],
      [
        ["d", "./crlf"],
        127,
        "",
        "aperture-atomic: Cannot run './crlf': what its first line names is not found\n",
      ],
    ];
    fs.writeFileSync(path.join(dir, "plain"), "no program", { mode: 0o644 });
    fs.writeFileSync(path.join(dir, "crlf"), "#!/bin/sh\r\nexit 0\r\n", { mode: 0o755 });
    for (const [args, code, out, err] of cases) {
      assertEquals(run(dir, ["lock", ...args]), { code, out, err });
      assert(isFree(path.join(dir, "d")));
    }
    assertEquals(list(dir), ["-d", "crlf", "d", "plain"]);
  }), onUnix);

test(
  "aperture-atomic lock hands on its standard input and its environment",
  () =>
    inTempDir((dir) => {
      const [file, ...args] = command();
      const { stdout } = spawnSync(file, [...args, "lock", ".", "sh", "-c", 'echo "$GIVEN"; cat'], {
        cwd: dir,
        input: "typed\n",
        env: { ...process.env, GIVEN: "handed on" },
      });
      assertEquals(String(stdout), "handed on\ntyped\n");
    }),
  onUnix,
);

test("aperture-atomic lock does not wait longer than it is told", () =>
  inTempDir(async (dir) => {
    const holder = new Child("hold", [dir]);
    await holder.says("held");
    const cases: [args: string[], code: number][] = [
      [["-n"], 75],
      [["-snE", "9"], 9],
      [["-w", "0.05", "--conflict-code", "0"], 0],
    ];
    for (const [args, code] of cases) {
      assertEquals(run(dir, ["lock", ...args, ".", "echo", "never"]), { code, out: "", err: "" });
    }
    const other = run(dir, ["lock", "-n", "--lock-file", "other", ".", "echo", "yes"]);
    assertEquals([other.code, other.out], [0, "yes\n"]);
    await holder.kill();
  }));

test("aperture-atomic lock waits until the lock is free", () =>
  inTempDir(async (dir) => {
    const holder = new Child("hold", [dir]);
    await holder.says("held");
    const waiting = start(dir, "lock", ".", "echo", "served");
    const served = waiting.line();
    let isServed = false;
    served.then(() => isServed = true);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert(!isServed);
    holder.tell();
    assertEquals([await served, await waiting.exit()], ["served", 0]);
    await holder.exit();
  }));

test("aperture-atomic lock --shared lets others share", () =>
  inTempDir(async (dir) => {
    const holder = new Child("hold", [dir, "shared"]);
    await holder.says("held");
    assertEquals(run(dir, ["lock", "-sn", ".", "echo", "shared"]).out, "shared\n");
    assertEquals(run(dir, ["lock", "-n", ".", "echo", "alone"]).code, 75);
    await holder.kill();
  }));

for (const signal of ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const) {
  test(
    `aperture-atomic lock passes ${signal} on, and waits for the command`,
    () =>
      inTempDir(async (dir) => {
        const traps = `trap 'echo got it; read line; exit 5' ${signal.slice(3)};`;
        const running = start(dir, "lock", ".", ...untilSignal(traps));
        await running.says("ready");
        running.signal(signal);
        await running.says("got it");
        assert(!isFree(dir));
        running.process.stdin!.end("\n");
        assertEquals(await running.exit(), 5);
        assert(isFree(dir));
      }),
    onUnix,
  );
}

test(
  "aperture-atomic lock tells that the command was ended by a signal that it passed on",
  () =>
    inTempDir(async (dir) => {
      const running = start(dir, "lock", ".", ...untilSignal());
      await running.says("ready");
      running.signal("SIGTERM");
      assertEquals(await running.exit(), 143);
    }),
  onUnix,
);

test(
  "aperture-atomic lock waits for a command that it may not send signals to",
  () =>
    inTempDir(async (dir) => {
      const withoutKill = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"] as const;
      const asOther = ["setpriv", "--reuid=65534", "--clear-groups"];
      const shell = ["sh", "-c", "echo ready; read line; echo ended"];
      const running = new Run(
        [...withoutKill, ...command(), "lock", ".", ...asOther, ...shell],
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
  "aperture-atomic lock waits through SIGHUP for a command that ignores it",
  () =>
    inTempDir(async (dir) => {
      const shell = ["sh", "-c", "echo ready; read line; echo survived"];
      const running = start(dir, "lock", ".", "nohup", ...shell);
      await running.says("ready");
      running.signal("SIGHUP");
      running.process.stdin!.end("\n");
      assertEquals([await running.line(), await running.exit()], ["survived", 0]);
    }),
  onUnix,
);

test("aperture-atomic lock that waits is ended by a signal", () =>
  inTempDir(async (dir) => {
    const holder = new Child("hold", [dir]);
    await holder.says("held");
    const waiting = start(dir, "lock", ".", "echo", "never");
    await new Promise((resolve) => setTimeout(resolve, 300));
    waiting.signal("SIGTERM");
    assertEquals([await waiting.exit(), await waiting.line()], [143, "(the end)"]);
    await holder.kill();
  }), onUnix);

test(
  "aperture-atomic lock frees the lock when it is killed, while the command runs on",
  () =>
    inTempDir(async (dir) => {
      const running = start(dir, "lock", ".", "sh", "-c", "echo $$; read line; echo still there");
      const pid = Number(await running.line());
      assert(!isFree(dir));
      running.signal("SIGKILL");
      assertEquals(await running.exit(), "SIGKILL");
      assert(isFree(dir));
      process.kill(pid, 0);
      running.process.stdin!.end("\n");
      assertEquals(await running.line(), "still there");
    }),
  onUnix,
);

test("aperture-atomic lock and flock(1) keep each other out", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, LOCK_FILE_NAME);
    const flock = (...args: string[]) => spawnSync("flock", [...args, file, "echo", "in"]);
    const running = start(dir, "lock", ".", "sh", "-c", "echo ready; read line");
    await running.says("ready");
    assertEquals(flock("-n").status, 1);
    running.process.stdin!.end("\n");
    assertEquals([await running.exit(), flock("-n").status], [0, 0]);

    const holder = new Run(["flock", file, "sh", "-c", "echo ready; read line"], dir);
    await holder.says("ready");
    assertEquals(run(dir, ["lock", "-n", ".", "echo", "in"]).code, 75);
    holder.process.stdin!.end("\n");
    await holder.exit();
    assertEquals(run(dir, ["lock", "-n", ".", "echo", "in"]).code, 0);
  }), withFlock);

test(
  "aperture-atomic lock passes what util-linux asks of flock(1)",
  () =>
    inTempDir(async (dir) => {
      const holder = start(dir, "lock", "--shared", ".", "sh", "-c", "echo Locking; read line");
      await holder.says("Locking");
      const cases: [options: string, code: number, out: string][] = [
        ["--nonblock --conflict-exit-code 123", 123, ""],
        ["--shared", 0, "locked\n"],
        ["--nonblock --exclusive --conflict-exit-code 123", 123, ""],
      ];
      for (const [options, code, out] of cases) {
        const end = run(dir, ["lock", ...options.split(" "), ".", "echo", "locked"]);
        assertEquals(end, { code, out, err: "" });
      }
      const timed = start(
        dir,
        "lock",
        ..."--timeout 60 --conflict-exit-code 5 . echo after".split(" "),
      );
      holder.process.stdin!.end("\n");
      assertEquals([await timed.line(), await timed.exit(), await holder.exit()], ["after", 0, 0]);
    }),
  onUnix,
);

test("aperture-atomic write replaces a file by its standard input", () =>
  inTempDir((dir) => {
    const file = path.join(dir, "file");
    assertEquals(run(dir, ["write", "file"], "one\n"), { code: 0, out: "", err: "" });
    const long = "0123456789abcdef".repeat(1 << 16);
    assertEquals(run(dir, ["write", "--durability", "none", "file"], long).code, 0);
    assert(text(file) === long);
    assertEquals(run(dir, ["write", "file"]).code, 0);
    assertEquals([text(file), list(dir)], ["", ["file"]]);
    assertEquals(run(dir, ["write", "--mode", "600", "--", "-file"], "x").code, 0);
    if (!isWindows) assertEquals(fs.statSync(path.join(dir, "-file")).mode & 0o777, 0o600);
    assertEquals(run(dir, ["write", "--parents", "a/b/file"], "x").code, 0);
    assertEquals(text(path.join(dir, "a", "b", "file")), "x");
  }));

test(
  "aperture-atomic write takes a file as standard input from where another has read it to",
  () =>
    inTempDir((dir) => {
      const input = path.join(dir, "input");
      fs.writeFileSync(input, "header\nbody\n");
      const script = '{ read -r line; "$@"; } < input';
      const args = ["-c", script, "sh", ...command(), "write", "file"];
      const { status } = spawnSync("sh", args, { cwd: dir });
      assertEquals([status, text(path.join(dir, "file"))], [0, "body\n"]);
    }),
  onUnix,
);

test(
  "aperture-atomic write takes a closed standard input for an empty one",
  () =>
    inTempDir((dir) => {
      const script = '"$@" <&-';
      const args = ["-c", script, "sh", ...command(), "write", "file"];
      const { status, stderr } = spawnSync("sh", args, { cwd: dir });
      assertEquals([status, String(stderr), text(path.join(dir, "file"))], [0, "", ""]);
    }),
  onUnix,
);

test(
  "aperture-atomic write does not take a directory as standard input for an empty one",
  () =>
    inTempDir((dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      const args = ["-c", '"$@" <.', "sh", ...command(), "write", file];
      const { status } = spawnSync("sh", args, { cwd: dir });
      assertEquals([status, text(file)], [74, "old"]);
    }),
  onUnix,
);

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  test(
    `aperture-atomic write leaves nothing of an endless input after ${signal}`,
    () =>
      inTempDir(async (dir) => {
        fs.writeFileSync(path.join(dir, "file"), "old");
        const writing = start(dir, "write", "file");
        const input = writing.process.stdin!;
        input.on("error", () => {}); // It ends while more is written to it.
        const chunk = "x".repeat(65_536);
        await until(() => {
          if (!input.writableNeedDrain) input.write(chunk);
          return list(dir).length > 1;
        }, writing.process);
        writing.signal(signal);
        const codes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };
        assertEquals(await writing.exit(), codes[signal]);
        input.destroy();
        assertEquals([text(path.join(dir, "file")), list(dir)], ["old", ["file"]]);
      }),
    onUnix,
  );
}

test(
  "aperture-atomic write publishes a command's output if that exits with 0, and only then",
  () =>
    inTempDir((dir) => {
      const file = path.join(dir, "file");
      const cases: [command: string[], code: number, content: string][] = [
        [["echo", "one"], 0, "one\n"],
        [["sh", "-c", "echo half; exit 7"], 7, "one\n"],
        [["sh", "-c", "echo half; kill -KILL $$"], 137, "one\n"],
        [["missing"], 127, "one\n"],
        [["true"], 0, ""],
        [["cat", "file", "-"], 0, "typed"],
      ];
      for (const [command, code, content] of cases) {
        const end = run(dir, ["write", "file", "--", ...command], "typed");
        assertEquals([end.code, end.out, text(file), list(dir)], [code, "", content, ["file"]]);
      }
    }),
  onUnix,
);

test(
  "aperture-atomic write passes a signal on, and publishes nothing",
  () =>
    inTempDir(async (dir) => {
      const writing = start(
        dir,
        "write",
        "file",
        "--",
        "sh",
        "-c",
        "echo half; touch up; sleep 60; :",
      );
      await until(() => list(dir).includes("up"), writing.process);
      let sleeps: number[] = [];
      await until(() => {
        sleeps = childrenOf(writing.process.pid!).flatMap((pid) => childrenOf(pid));
        return sleeps.length > 0;
      }, writing.process);
      writing.signal("SIGTERM");
      assertEquals([await writing.exit(), list(dir)], [143, ["up"]]);
      // They hold the output open still, and nobody has waited for them.
      // Of a process that has ended it is empty.
      assert(sleeps.every((pid) => text(`/proc/${pid}/cmdline`).startsWith("sleep")));
      for (const pid of sleeps) process.kill(pid);
    }),
  {
    skip: (process.platform !== "linux" || spawnSync("pgrep", ["-V"]).status !== 0) &&
      "there is no pgrep(1)",
  },
);

test(
  "aperture-atomic write publishes nothing after a signal that the command answers with success",
  () =>
    inTempDir(async (dir) => {
      const trap = "trap 'exit 0' TERM; echo half; touch up; while :; do sleep 0.02; done";
      const writing = start(dir, "write", "file", "--", "sh", "-c", trap);
      await until(() => list(dir).includes("up"), writing.process);
      writing.signal("SIGTERM");
      assertEquals([await writing.exit(), list(dir)], [143, ["up"]]);
    }),
  onUnix,
);

test(
  "aperture-atomic write publishes nothing when a signal comes with the command's end",
  () =>
    inTempDir(async (dir) => {
      for (let i = 0; i < 5; i++) {
        const writing = start(dir, "write", "file", "--", "sh", "-c", "echo half; kill $PPID");
        assertEquals([await writing.exit(), list(dir)], [143, []]);
      }
    }),
  onUnix,
);

test(
  "aperture-atomic write leaves nothing when a signal comes while it puts the file in place",
  () =>
    inTempDir(async (dir) => {
      fs.writeFileSync(path.join(dir, "file"), "old");
      const large = "head -c 100000000 /dev/zero; touch done";
      const writing = start(dir, "write", "file", "--", "sh", "-c", large);
      await until(() => list(dir).includes("done"), writing.process);
      writing.signal("SIGTERM");
      const code = await writing.exit();
      // Too late, on a quick disk.
      const size = code === 0 ? 100_000_000 : 3;
      assertEquals([fs.statSync(path.join(dir, "file")).size, list(dir)], [size, ["done", "file"]]);
      assert(code === 0 || code === 143, `${code}`);
    }),
  onUnix,
);

test(
  "aperture-atomic write is ended by a signal while the command's output is still held open",
  () =>
    inTempDir(async (dir) => {
      const left = "trap '' TERM; sleep 60 & echo $! > up; kill $PPID";
      const writing = start(dir, "write", "file", "--", "sh", "-c", left);
      assertEquals([await writing.exit(), list(dir)], [143, ["up"]]);
      process.kill(Number(text(path.join(dir, "up"))), "SIGKILL");
    }),
  onUnix,
);

function childrenOf(pid: number): number[] {
  const { stdout } = spawnSync("pgrep", ["-P", String(pid)]);
  return String(stdout).trim().split("\n").filter(Boolean).map(Number);
}

test("aperture-atomic write refuses what it cannot replace", () =>
  inTempDir((dir) => {
    fs.mkdirSync(path.join(dir, "d"));
    fs.writeFileSync(path.join(dir, "file"), "old");
    for (const args of [["d"], ["--create-new", "file"], ["missing/file"]]) {
      const { code, err } = run(dir, ["write", ...args], "new");
      assertEquals([code, err.startsWith("aperture-atomic: Cannot write ")], [74, true], err);
    }
    assertEquals([text(path.join(dir, "file")), list(dir)], ["old", ["d", "file"]]);
  }));

test("aperture-atomic write ends the command when the disk is full", () =>
  inTempDir((dir) => {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", dir]);
    try {
      fs.writeFileSync(path.join(dir, "file"), "old");
      const { code, err } = run(dir, ["write", "file", "--", "yes"]);
      assertEquals([code, err.includes("(write)")], [74, true], err);
      assertEquals([text(path.join(dir, "file")), list(dir)], ["old", ["file"]]);
    } finally {
      execFileSync("umount", [dir]);
    }
  }), withMounts);

test("aperture-atomic sweep removes what killed programs have left, and says so", () =>
  inTempDir((dir) => {
    const name = ".file.0123456789abcdef.tmp";
    fs.writeFileSync(path.join(dir, name), "half");
    assertEquals(run(dir, ["sweep", dir]), { code: 0, out: "", err: "" });
    const swept = run(dir, ["sweep", "--older-than", "0s", dir]);
    assertEquals(swept, { code: 0, out: `${path.join(dir, name)}\n`, err: "" });
    assertEquals(list(dir), []);
    assertEquals(run(dir, ["sweep", "missing"]).code, 74);
  }));

test("aperture-atomic holders prints who holds the lock, where the system tells", () =>
  inTempDir(async (dir) => {
    const holder = new Child("hold", [dir]);
    await holder.says("held");
    const held = run(dir, ["holders", "."]);
    await holder.kill();
    const free = run(dir, ["holders", "."]);
    if (process.platform === "linux" && !isDeno) {
      assertEquals(held, { code: 0, out: `${holder.process.pid}\n`, err: "" });
      assertEquals(free, { code: 1, out: "", err: "" });
    } else {
      // Deno must be granted everything, or it would have to ask.
      assertEquals([held.code, held.out, free.code], [69, "", 69]);
      assert(held.err.includes("does not tell"));
    }
  }));

test(
  "aperture-atomic tells with exit code 74 that it cannot print",
  () =>
    inTempDir((dir) => {
      const full = fs.openSync("/dev/full", "w");
      const [file, ...args] = command();
      const { status, stderr } = spawnSync(file, [...args, "--help"], {
        cwd: dir,
        stdio: ["ignore", full, "pipe"],
      });
      fs.closeSync(full);
      assertEquals([status, /no space left/i.test(String(stderr))], [74, true]);
    }),
  { skip: process.platform !== "linux" && "there is no /dev/full" },
);

test("aperture-atomic ends quietly when nobody reads what it prints", () =>
  inTempDir((dir) => {
    const script = '"$@" 2>err | true';
    spawnSync("sh", ["-c", script, "sh", ...command(), "--help"], { cwd: dir });
    assertEquals(text(path.join(dir, "err")), "");
  }), onUnix);

test("aperture-atomic runs through the link that npm makes", () =>
  inTempDir((dir) => {
    fs.symlinkSync(cli, path.join(dir, "aperture-atomic"));
    const [file, ...args] = command(path.join(dir, "aperture-atomic"));
    const { status, stdout } = spawnSync(file, [...args, "--version"]);
    assertEquals([status, String(stdout)], [0, `${VERSION}\n`]);
  }), { skip: isDeno ? "Deno makes a script instead" : onUnix.skip });

test("importing the command does nothing, in a program that is called cli too", () =>
  inTempDir((dir) => {
    const program = path.join(dir, path.basename(cli));
    const imported = JSON.stringify(pathToFileURL(cli).href);
    const then = 'setTimeout(() => console.log("its own"), 50)';
    fs.writeFileSync(program, `import(${imported}).then(() => ${then});\n`);
    const [file, ...args] = command(program);
    // Where imports come from JSR, they are in the configuration.
    if (isDeno) args.splice(1, 0, `--config=${path.join(path.dirname(cli), "deno.json")}`);
    const { status, stdout, stderr } = spawnSync(file, [...args, "--version"]);
    assertEquals([status, String(stdout), String(stderr)], [0, "its own\n", ""]);
  }));

test("aperture-atomic runs when it is called without its ending", () => {
  const [file, ...args] = command(cli.replace(/\.js$/, ""));
  const { status, stdout } = spawnSync(file, [...args, "--version"]);
  assertEquals([status, String(stdout)], [0, `${VERSION}\n`]);
}, { skip: isDeno && "Deno wants the whole name" });

for (const name of ["cli", "aperture-atomic"]) {
  test(
    `aperture-atomic runs from a URL that ends in "/${name}", as JSR's and npm's links do`,
    () =>
      inTempDir(async (dir) => {
        const root = path.dirname(cli);
        const server = createServer(({ url }, response) => {
          const file = path.join(root, url === `/${name}` ? "cli.ts" : url!);
          response.writeHead(200, { "content-type": "application/typescript" });
          response.end(fs.readFileSync(file));
        });
        await once(server.listen(0, "127.0.0.1"), "listening");
        try {
          const { port } = server.address() as AddressInfo;
          const [deno, run, ...more] = command(`http://127.0.0.1:${port}/${name}`);
          // Deno does not look for the configuration of a program from a URL; where imports come
          // from JSR, that is one more host.
          const args = ["--allow-import", `--config=${path.join(root, "deno.json")}`, ...more];
          const started = new Run([deno, run!, ...args, "--version"], dir);
          assertEquals([await started.line(), await started.exit()], [VERSION, 0]);
        } finally {
          server.close();
        }
      }),
    { skip: !isDeno && "only Deno runs URLs" },
  );
}

test("aperture-atomic lock on a terminal says who is waited for", () =>
  inTempDir(async (dir) => {
    const holder = new Child("hold", [dir]);
    await holder.says("held");
    const terminal = onTerminal(dir, "lock", ".", "echo", "served");
    const line = await terminal.line();
    const who = isDeno ? "" : `, which process ${holder.process.pid} holds`;
    assertEquals(line, `aperture-atomic: Waiting for the lock of '.'${who}`);
    holder.tell();
    await terminal.says("served");
    assertEquals(await terminal.exit(), 0);
    await holder.exit();
  }), withTerminal);

test(
  "aperture-atomic lock on a terminal says why it does not wait",
  () =>
    inTempDir(async (dir) => {
      const holder = new Child("hold", [dir]);
      await holder.says("held");
      const terminal = onTerminal(dir, "lock", "-n", ".", "echo", "never");
      const who = isDeno ? "" : `, which process ${holder.process.pid} holds`;
      assertEquals(await terminal.line(), `aperture-atomic: The lock of '.' is not free${who}`);
      assertEquals(await terminal.exit(), 75);
      await holder.kill();
    }),
  withTerminal,
);

test(
  "aperture-atomic lock on a terminal does not pass its ^C on, which the command has anyhow",
  () =>
    inTempDir(async (dir) => {
      // In a session of its own the command gets no ^C of the terminal, and so none at all.
      const script = "trap 'echo interrupted' INT; echo ready; " +
        "until [ -e stop ]; do echo on; sleep 0.02; done; echo ended; exit 5";
      const terminal = onTerminal(dir, "lock", ".", "setsid", "sh", "-c", script);
      await terminal.says("ready");
      terminal.process.stdin!.write("\x03");
      assertEquals(await terminal.says("^C"), "^Con");
      for (let i = 0; i < 10; i++) assertEquals(await terminal.line(), "on");
      assert(!isFree(dir));
      fs.writeFileSync(path.join(dir, "stop"), "");
      let line = "on";
      while (line === "on") line = await terminal.line();
      assertEquals(line, "ended");
      assertEquals(await terminal.exit(), 5);
    }),
  withTerminal,
);

test(
  "aperture-atomic write on a terminal writes what is typed, up to ^D",
  () =>
    inTempDir(async (dir) => {
      const terminal = onTerminal(dir, "write", "file");
      terminal.process.stdin!.write("typed\n\x04");
      assertEquals(await terminal.exit(), 0);
      assertEquals(text(path.join(dir, "file")), "typed\n");
    }),
  withTerminal,
);

/** Starts the command on a terminal of its own; what it prints is read, what is written is typed. */
function onTerminal(cwd: string, ...args: string[]): Run {
  const quoted = [...command(), ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  const shell = ["script", "-qec", `exec ${quoted.join(" ")}`, "/dev/null"];
  return new Run(shell as [string, ...string[]], cwd);
}
