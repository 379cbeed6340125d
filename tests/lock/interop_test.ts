/** The lock excludes, and is excluded by, other programs that lock the same file. */
import { assert, assertEquals } from "@std/assert";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { DirLock, LOCK_FILE_NAME } from "../../mod.ts";
import { assertBlocks } from "../support/blocks.ts";
import { inTempDir } from "../support/dir.ts";
import { endWithTest, isDeno, test } from "../support/test.ts";

/** A program that can lock a file. */
interface Locker {
  readonly name: string;
  readonly command: string;
  /**
   * Returns arguments that make the command lock the file, print "held" and hold the lock until its
   * input ends.
   */
  hold(file: string, shared: boolean): string[];
  /**
   * Returns arguments that make the command exit with 0 if the lock is free and with 1 otherwise.
   */
  try(file: string, shared: boolean): string[];
}

const python = (flags: string) =>
  `import fcntl, sys; f = open(sys.argv[1], "r+")
try: fcntl.flock(f, ${flags})
except BlockingIOError: sys.exit(1)
if sys.argv[2] == "hold": print("held", flush=True); sys.stdin.read()`;

/**
 * The path of the Python executable itself. `python3` may be a wrapper script that takes a second
 * to find the executable.
 */
const interpreter = spawnSync("python3", ["-c", "import sys; print(sys.executable)"], {
  encoding: "utf8",
}).stdout?.trim() || "python3";

const lockers: Locker[] = [
  {
    name: "flock(1)",
    command: "flock",
    hold: (file, shared) => [shared ? "-s" : "-x", file, "sh", "-c", "echo held; cat"],
    try: (file, shared) => [shared ? "-s" : "-x", "-n", "-E", "1", file, "true"],
  },
  {
    name: "Python's fcntl.flock",
    command: interpreter,
    hold: (file, shared) => [
      "-c",
      python(shared ? "fcntl.LOCK_SH" : "fcntl.LOCK_EX"),
      file,
      "hold",
    ],
    try: (file, shared) => [
      "-c",
      python((shared ? "fcntl.LOCK_SH" : "fcntl.LOCK_EX") + " | fcntl.LOCK_NB"),
      file,
      "try",
    ],
  },
];

const fs2 = buildFs2Locker();
if (fs2 !== undefined) {
  lockers.push({
    name: "Rust's fs2",
    command: fs2,
    hold: (file, shared) => ["hold", shared ? "shared" : "exclusive", file],
    try: (file, shared) => ["try", shared ? "shared" : "exclusive", file],
  });
} else {
  test("DirLock is excluded by Rust's fs2", () => {}, {
    skip: "requires cargo and Debian's librust-fs2-dev",
  });
}

/**
 * Builds the program in support/fs2 if Cargo and the crate are already installed; downloads
 * nothing.
 */
function buildFs2Locker(): string | undefined {
  const crates = "/usr/share/cargo/registry";
  if (!fs.existsSync(crates) || !fs.readdirSync(crates).some((name) => name.startsWith("fs2-"))) {
    return undefined;
  }
  const source = [`source.crates-io.replace-with="debian"`, `source.debian.directory="${crates}"`];
  const project = fileURLToPath(
    // The built package's tests also use these sources, because the build does not copy Cargo's
    // files.
    new URL(isDeno ? "../support/fs2" : "../../../../tests/support/fs2", import.meta.url),
  );
  const target = path.join(tmpdir(), "aperture-fs2-locker");
  const { status } = spawnSync("cargo", [
    "build",
    "--quiet",
    "--offline",
    ...source.flatMap((setting) => ["--config", setting]),
    "--manifest-path",
    path.join(project, "Cargo.toml"),
    "--target-dir",
    target,
  ], { stdio: ["ignore", "ignore", "inherit"] });
  return status === 0 ? path.join(target, "debug", "fs2-locker") : undefined;
}

for (const { name, command, hold, try: tryOnce } of lockers) {
  const skip = spawnSync(command, ["--version"]).status !== 0 && `${command} is not installed`;

  for (const shared of [false, true]) {
    const kind = shared ? "shared" : "exclusive";

    test(
      `DirLock.acquire() waits while ${name} holds the lock in ${kind} mode`,
      () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, LOCK_FILE_NAME);
          fs.writeFileSync(file, "");
          const child = spawn(command, hold(file, shared), { stdio: ["pipe", "pipe", "inherit"] });
          endWithTest(child);
          const ended = once(child, "close");
          const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
          assertEquals((await lines.next()).value, "held");
          assertEquals(await DirLock.tryAcquire(dir), null);
          assertEquals(DirLock.tryAcquireSync(dir), null);
          const reader = await DirLock.tryAcquire(dir, { shared: true });
          assertEquals(reader !== null, shared);
          reader?.release();
          const lock = await assertBlocks(DirLock.acquire(dir), () => child.stdin!.end());
          lock.release();
          await ended;
        }),
      { skip },
    );

    test(`DirLock.acquire() excludes ${name} in ${kind} mode`, () =>
      inTempDir(async (dir) => {
        const lock = await DirLock.acquire(dir, { shared });
        const status = (shared: boolean) =>
          spawnSync(command, tryOnce(lock.path, shared), { encoding: "utf8" }).status;
        assertEquals([status(false), status(true)], [1, shared ? 0 : 1]);
        assert(!lock.released);
        lock.release();
        assertEquals([status(false), status(true)], [0, 0]);
      }), { skip });
  }
}
