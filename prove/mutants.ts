import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { isDeno27 } from "../tests/support/test.ts";
import { FIXES } from "./network/fixes.ts";
import { broken, type Edit, inParallel, type Part, root, Tally } from "./part.ts";
import { canTrace } from "./strace.ts";

/** A change that breaks a guarantee, and the check that must catch it. */
interface Mutant extends Edit {
  readonly breaks: string;
  /** Either a test file and a substring of its tests' titles, or a part of this proof. */
  readonly caughtBy: readonly [file: string, filter: string] | readonly [part: string];
  /** Whether Deno's sanitizers catch the change. */
  readonly sanitized?: true;
}

const mutants: readonly Mutant[] = [
  {
    breaks: "renames before the sync",
    file: "internal/write/temp_file.ts",
    find: "yield (_, isSync) => file.sync(isSync);",
    replace: "if (request.mode === -1) yield (_, isSync) => file.sync(isSync);",
    caughtBy: ["order"],
  },
  {
    breaks: "does not sync the directory",
    file: "internal/write/replacement.ts",
    find: 'if (request.durability !== "durable" || runtime.windows) return;',
    replace: "return;",
    caughtBy: ["order"],
  },
  {
    breaks: "sets the mode after the sync",
    file: "internal/write/temp_file.ts",
    find: "if (isChanged) yield* this.#reach(set);",
    replace:
      "yield (_, isSync) => file.sync(isSync);\n      if (isChanged) yield* this.#reach(set);",
    caughtBy: ["order"],
  },
  {
    breaks: "does not count the bytes",
    file: "internal/write/temp_file.ts",
    find: "offset += written;",
    replace: "offset += bytes.byteLength;",
    caughtBy: ["system/faults_test.ts", "continues short writes"],
  },
  {
    breaks: "does not open the temporary file exclusively",
    file: "runtime/deno/runtime.ts",
    find: "return { write: true, createNew: true,",
    replace: "return { write: true, create: true,",
    caughtBy: ["write/atomic_write_test.ts", "planted at the temporary name"],
  },
  {
    breaks: "makes the temporary file wider than the target",
    file: "internal/write/attributes.ts",
    find: "return 0o600 | (mode & 0o700) | others;",
    replace: "return 0o666 | others;",
    caughtBy: ["write/atomic_write_test.ts", "with a mode no wider than the target"],
  },
  {
    breaks: "leaves the temporary file after a failure",
    file: "internal/write/temp_file.ts",
    find: "yield* this.#reach((path) => retryRefused(REMOVE_RETRY_MS, (fs) => fs.remove(path)));",
    replace: "yield () => {};",
    caughtBy: ["system/faults_test.ts", "survives a failure"],
  },
  {
    breaks: "leaves the descriptor open after a failure",
    file: "internal/write/temp_file.ts",
    find: "if (file !== undefined) yield* closeQuietly(file);",
    replace: "void file;",
    caughtBy: ["system/faults_test.ts", "survives a failure"],
  },
  {
    breaks: "publishes after a failed write",
    file: "internal/write/stream_writer.ts",
    find: "await this.#discard({ error });\n      throw error;",
    replace: "throw error;",
    caughtBy: ["write/atomic_file_test.ts", "rejects after a write has failed"],
  },
  {
    breaks: "lets calls on one path overtake each other",
    file: "internal/order/path_queue.ts",
    find: "if (queue.current === undefined) drive(key, queue);",
    replace: "drive(key, queue);",
    caughtBy: ["write/atomic_write_test.ts", "last call for a path win"],
  },
  {
    breaks: "publishes what is left of a buffer detached during the write",
    file: "internal/write/content.ts",
    find: "if (bytes.buffer.byteLength !== bufferLength) throw notWhole(bytes.byteLength, length);",
    replace: "void bufferLength;",
    caughtBy: ["write/bytes_test.ts", "transferred"],
  },
  {
    breaks: "syncs only the innermost directory",
    file: "internal/base/directories.ts",
    find: "path === file || unsynced().has(path)",
    replace: "path === file",
    caughtBy: ["write/place_test.ts", "syncs every directory"],
  },
  {
    breaks: "mistakes a failure for a success in a takeover",
    file: "internal/write/replacement.ts",
    find: "if (earlier?.failure !== undefined) throw earlier.failure.error;",
    replace: "if (earlier?.failure !== undefined) return;",
    caughtBy: ["write/take_over_test.ts", "does not hide a failure"],
  },
  {
    breaks: "mistakes a removed file for a renamed one",
    file: "internal/write/replacement.ts",
    find: "? now !== undefined && now.id !== target.info?.id",
    replace: "? now !== undefined",
    caughtBy: ["write/take_over_test.ts", "when its temporary file was removed"],
  },
  {
    breaks: "replaces a FIFO",
    file: "internal/write/target.ts",
    find: 'throw runtime.error("ENOTSUP", "Is a FIFO, a socket or a device", path);',
    replace: "return { path, info: undefined };",
    caughtBy: ["write/atomic_write_test.ts", "refuses a FIFO"],
  },
  {
    breaks: "replaces a link",
    file: "internal/write/target.ts",
    find: 'if (info?.kind !== "symlink" || existing === "replace") return regular(path, info);',
    replace: "return regular(path, info);",
    caughtBy: ["write/atomic_write_test.ts", "follows a symbolic link"],
  },
  {
    breaks: "does not check the lock file's name after locking",
    file: "internal/lock/candidate.ts",
    find: 'if (!pathStillIs(this.#request.path, this.id)) return "replaced";',
    replace: "",
    caughtBy: ["lock/lock_test.ts", "was replaced before the lock was granted"],
  },
  {
    breaks: "follows a planted link to a lock file",
    file: "internal/lock/file.ts",
    find: 'if (info?.kind === "file") return identity(path, info);',
    replace: "if (info !== undefined) return identity(path, info);",
    caughtBy: ["lock/lock_test.ts", "refuses a lock file that is a link"],
  },
  {
    breaks: "has no queue",
    file: "internal/lock/acquire.ts",
    find: "while (!isNext(queue, place)) {",
    replace: "while (false) {",
    caughtBy: ["lock/queue_test.ts", "in order when the directory is missing"],
  },
  {
    breaks: "waits in the kernel with every waiter",
    file: "internal/lock/acquire.ts",
    find: "kernelWaits < runtime.kernelWaits",
    replace: "runtime.kernelWaits > 0",
    caughtBy: ["lock/lock_test.ts", "at most four calls waiting in the kernel"],
  },
  {
    breaks: "takes a shared lock instead of an exclusive one",
    file: "runtime/deno/runtime.ts",
    find: "return file.tryLockSync(exclusive);",
    replace: "return file.tryLockSync(false);",
    caughtBy: ["lock/interop_test.ts", "DirLock.acquire() excludes flock(1)"],
  },
  {
    breaks: "keeps its timer after giving up",
    file: "internal/base/steps.ts",
    find: "clock.clearTimeout(timer);",
    replace: "",
    caughtBy: ["lock/lock_test.ts", "beyond a timer's range"],
    sanitized: true,
  },
  {
    breaks: "does not detect a deadlock with its own thread",
    file: "internal/lock/acquire.ts",
    find: "throw new DeadlockError(path);",
    replace: "throw new LockTimeoutError(path, 0);",
    caughtBy: ["lock/lock_test.ts", "throws a DeadlockError"],
  },
  {
    breaks: "loses updates",
    file: "internal/update/mod.ts",
    find: "yield* acquire(acquisition)",
    replace: "yield* acquire({ ...acquisition, shared: true })",
    caughtBy: ["update/update_test.ts", "loses none"],
  },
  {
    breaks: "writes after the lock was lost",
    file: "internal/update/mod.ts",
    find: "const verify = (path: string) => {",
    replace: "const verify = (path: string) => {\n    if (request.mode !== -1) return;",
    caughtBy: ["update/update_test.ts", "released"],
  },
  {
    breaks: "overwrites what another writer changed during an update",
    file: "internal/update/mod.ts",
    find: 'hasChanged = request.existing !== "refuse" && !isCurrent(version, path);',
    replace: "hasChanged = isCurrent === undefined;",
    caughtBy: ["update/other_writers_test.ts", "calls its function again"],
  },
  {
    breaks: "ignores unknown options",
    file: "internal/base/options.ts",
    find: "if (isOwn.call(checks, name)) continue;",
    replace: "if (isOwn) continue;",
    caughtBy: ["system/options_test.ts", "rejects bad options"],
  },
  {
    breaks: "copies in place into a file that has another mode",
    file: "internal/write/in_place.ts",
    find: "if (mode !== undefined && mode !== info.mode) return false;",
    replace: "",
    caughtBy: ["write/place_test.ts", "when the requested mode is not"],
  },
  {
    breaks: "sweeps what is in use",
    file: "internal/write/sweep.ts",
    find: 'if (info?.kind !== "file" || info.mtime > before) continue;',
    replace: 'if (info?.kind !== "file") continue;',
    caughtBy: ["write/sweep_test.ts", "removes old temporary files"],
  },
];

/** Breaks each guarantee on purpose. The guarantee's check must then fail. */
export const proveMutants: Part = async ({ short }) => {
  const tally = new Tally();
  const base = fs.mkdtempSync(path.join(os.tmpdir(), "prove-mutants-"));
  const candidates = mutants.filter(({ caughtBy, sanitized }) =>
    (caughtBy.length === 2 || (canTrace && !short)) && !(sanitized && isDeno27)
  );
  // Also apply the mutants that are not run, so that none of them becomes stale unnoticed.
  for (const mutant of mutants) {
    if (!candidates.includes(mutant)) await tally.try(mutant.breaks, () => broken(root, mutant));
  }
  for (const fix of FIXES) await tally.try(fix.name, () => broken(root, fix));
  // Make one copy per worker instead of one per mutant, because Deno recompiles files at a new
  // path.
  const copies = ["a", "b"].map((name) => copyOf(path.join(base, name)));
  await inParallel(candidates, copies.length, async (mutant) => {
    const dir = copies.pop()!;
    await tally.try(mutant.breaks, async () => {
      // In the short form, CI has already run these checks on the unmodified library.
      if (!short && !await passes(dir, mutant)) {
        throw new Error("its check fails on the unmodified library");
      }
      const file = path.join(dir, mutant.file);
      const source = fs.readFileSync(file, "utf8");
      fs.writeFileSync(file, broken(dir, mutant));
      try {
        let tries = 5;
        while (await passes(dir, mutant)) {
          // A check that depends on timing may occasionally miss the fault.
          if (--tries === 0) throw new Error("its check does not notice");
        }
      } finally {
        fs.writeFileSync(file, source);
      }
    });
    copies.push(dir);
  });
  fs.rmSync(base, { recursive: true });
  return [tally.row("Each check can fail", "guarantees broken in a copy of the library")];
};

/** Copies the repository's sources to a new directory; returns its path. */
function copyOf(dir: string): string {
  for (const name of fs.readdirSync(root)) {
    if ([".git", "npm", "npm_test", "node_modules"].includes(name)) continue;
    fs.cpSync(path.join(root, name), path.join(dir, name), {
      recursive: true,
      filter: (from) => !from.includes("node_modules"),
    });
  }
  return dir;
}

/** Returns whether a mutant's check passes in a copy of the repository. */
async function passes(dir: string, { caughtBy }: Mutant): Promise<boolean> {
  const imports: string[] = JSON.parse(Deno.env.get("APERTURE_DENO_ARGS") ?? "[]");
  const [check, filter] = caughtBy;
  const args = filter === undefined
    ? ["run", "-A", "--no-check", ...imports, "prove/main.ts", "--short", "--only", check]
    : ["test", "-A", "--no-check", ...imports, `tests/${check}`, "--filter", filter];
  const child = new Deno.Command(Deno.execPath(), {
    args,
    cwd: dir,
    stdout: "null",
    stderr: "null",
  })
    .spawn();
  // With a broken lock, the check may wait forever.
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const { success } = await child.status;
  clearTimeout(timer);
  return success;
}
