/**
 * Checks which system calls each operation makes, in which order and on which threads, so that no
 * call is added unnoticed.
 */
import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inTempDir } from "../support/dir.ts";
import { isBun, isDeno, isDeno27, test } from "../support/test.ts";
import { beginning, END, operations } from "../support/traced.ts";

/**
 * The expected calls on one runtime, with an asterisk after each call made on another thread, and
 * the maximum number of thread hops.
 */
type Expected = readonly [calls: string, hops: number];

const EXPECTED: Record<string, { deno: Expected; node: Expected }> = {
  'atomicWrite(), "none"': {
    deno: ["lstat open* fcntl write* close fstat close rename*", 3],
    node: ["lstat open* write* fstat close* rename*", 4],
  },
  'atomicWrite(), "consistent"': {
    deno: ["lstat open* fcntl write* close fstat fcntl fsync* close close rename*", 4],
    node: ["lstat open* write* fstat fsync* close rename*", 4],
  },
  'atomicWrite(), "durable"': {
    deno: [
      "lstat open* fcntl write* close fstat fcntl fsync* close close rename* open* fcntl fsync* close close",
      6,
    ],
    node: ["lstat open* write* fstat fsync* close rename* open* fsync* close", 6],
  },
  "atomicWrite() with createNew": {
    deno: ["lstat open* fcntl write* close close link* lstat* unlink*", 4],
    node: ["lstat open* write* close* link* unlink*", 5],
  },
  'atomicWriteSync(), "none"': {
    deno: ["lstat open write fstat close rename", 0],
    node: ["lstat open write fstat close rename", 0],
  },
  'atomicWriteSync(), "consistent"': {
    deno: ["lstat open write fstat fsync close rename", 0],
    node: ["lstat open write fstat fsync close rename", 0],
  },
  'atomicWriteSync(), "durable"': {
    deno: ["lstat open write fstat fsync close rename open fsync close", 0],
    node: ["lstat open write fstat fsync close rename open fsync close", 0],
  },
  'atomicUpdate(), "none"': {
    deno: [
      "lstat lstat open fstat lock lstat lstat stat open* fstat* lseek* read* read* close* lstat open* fcntl write* close fstat close lstat stat rename* unlock close",
      4,
    ],
    node: [
      "lstat open fstat lock lstat lstat stat open* fstat* read* close* lstat open* write* fstat close* lstat stat rename* unlock close",
      7,
    ],
  },
  "DirLock.acquire() and release()": {
    deno: ["lstat open fstat lock lstat unlock close", 0],
    node: ["open fstat lock lstat unlock close", 0],
  },
  "DirLock.acquireSync() and release()": {
    deno: ["lstat open fstat lock lstat unlock close", 0],
    node: ["open fstat lock lstat unlock close", 0],
  },
};

/** Maps names in strace's output to a common name for equivalent system calls. */
const NAMES: Record<string, string> = {
  open: "open",
  openat: "open",
  creat: "open",
  pwrite64: "write",
  writev: "write",
  renameat: "rename",
  renameat2: "rename",
  linkat: "link",
  unlinkat: "unlink",
  readlinkat: "readlink",
  fdatasync: "fsync",
  mkdirat: "mkdir",
  access: "access",
  faccessat: "access",
  faccessat2: "access",
};

/**
 * Returns the common name of the call in `line`, a line of strace's output without its thread ID.
 */
function nameOf(line: string): string {
  const name = line.slice(0, line.indexOf("("));
  if (name === "statx" || name === "newfstatat") {
    if (line.includes("AT_EMPTY_PATH")) return "fstat";
    return line.includes("AT_SYMLINK_NOFOLLOW") ? "lstat" : "stat";
  }
  if (name === "flock") return line.includes("LOCK_UN") ? "unlock" : "lock";
  return NAMES[name] ?? name;
}

/**
 * A directory on an in-memory file system, where acquiring a lock also refreshes the directory.
 */
const SHARED_MEMORY = "/dev/shm";

const outcomes = new Map<string, Promise<Expected[]>>();

/** Runs all operations under strace, in a new directory under `parent`. */
function traced(parent: string): Promise<Expected[]> {
  let outcome = outcomes.get(parent);
  if (outcome === undefined) outcomes.set(parent, outcome = traceIn(parent));
  return outcome;
}

function traceIn(parent: string): Promise<Expected[]> {
  return inTempDir((dir) => {
    const log = path.join(dir, "log");
    const extension = isDeno ? "ts" : "js";
    const program = fileURLToPath(new URL(`../support/traced.${extension}`, import.meta.url));
    const denoArgs = JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]");
    const command = [
      ...["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-s", "0", "-o", log],
      ...["-e", "trace=%file,%desc", process.execPath],
      ...isDeno ? ["run", "-A", "--quiet", ...denoArgs] : [],
      ...[program, "aperture-traced", dir],
    ];
    const { status, stdout, stderr } = spawnSync(
      "bash",
      ["-c", 'umask 022; exec "$@"', "bash", ...command],
      { encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`strace exited with ${status}: ${stderr}`);
    const hops: number[] = JSON.parse(stdout.trim().split("\n").at(-1)!);
    const lines = fs.readFileSync(log, "utf8").split("\n");
    return hops.map((count, index) => [callsOf(lines, index, path.join(dir, `${index}`)), count]);
  }, parent);
}

/** Returns the calls that an operation made on files in its directory. */
function callsOf(lines: readonly string[], index: number, dir: string): string {
  const begin = lines.findIndex((line) => line.includes(`"${beginning(index)}"`));
  const end = lines.findIndex((line, i) => i > begin && line.includes(`"${END}"`));
  const thread = lines[begin]!.split(" ")[0];
  return lines.slice(begin + 1, end).flatMap((line) => {
    const [, who, call] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (call === undefined || call.startsWith("<...") || !call.includes(dir)) return [];
    return [nameOf(call) + (who === thread ? "" : "*")];
  }).join(" ");
}

function skipped(): string | false {
  if (isBun) return "Bun chooses its threads differently";
  if (isDeno27) return "Deno 2.7 opens files on the calling thread";
  if (process.platform !== "linux") return "strace exists only on Linux";
  const { status } = spawnSync("strace", ["-f", "--seccomp-bpf", "-o", "/dev/null", "true"]);
  return status !== 0 && "strace is not installed";
}

/**
 * Whether acquiring a directory's lock refreshes the directory: true if its device's major number
 * is 0.
 */
function isRefreshed(dir: string): boolean {
  return (fs.statSync(dir).dev >>> 8 & 0xfff) === 0;
}

const skip = skipped();
for (const [index, name] of Object.keys(operations).entries()) {
  const locks = name.startsWith("DirLock");
  const parents = locks ? new Set([tmpdir(), SHARED_MEMORY]) : [tmpdir()];
  for (const parent of parents) {
    const where = parent === SHARED_MEMORY ? " in shared memory" : "";

    test(`${name} makes only the expected system calls and thread hops${where}`, async () => {
      const [calls, hops] = (await traced(parent))[index]!;
      const [expected, most] = EXPECTED[name]![isDeno ? "deno" : "node"];
      const refreshed = expected.replace("fstat lock", "fstat lock open close");
      assertEquals(calls, isRefreshed(parent) ? refreshed : expected);
      // Newer runtimes may need fewer hops.
      assert(hops <= most, `${hops} hops`);
    }, { skip: skip || !fs.existsSync(parent) && `${parent} is missing` });
  }
}
