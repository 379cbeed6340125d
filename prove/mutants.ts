import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { inParallel, type Part, root, Tally } from "./part.ts";
import { canTrace } from "./strace.ts";

/** A way to break a guarantee, and the check that is to catch it. */
interface Mutant {
  readonly breaks: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** The test file and a part of the titles of its tests, or a part of this proof. */
  readonly caughtBy: readonly [file: string, filter: string] | readonly [part: string];
}

const mutants: readonly Mutant[] = [
  {
    breaks: "renames before the sync",
    file: "atomic.ts",
    find: 'if (request.durability !== "none") yield* step(request, "fsync", () => file.sync());',
    replace:
      'if (request.durability !== "none" && request.mode === -1) yield* step(request, "fsync", () => file.sync());',
    caughtBy: ["order"],
  },
  {
    breaks: "does not sync the directory",
    file: "atomic.ts",
    find: 'if (request.durability !== "durable" || runtime.windows) return;',
    replace: "return;",
    caughtBy: ["order"],
  },
  {
    breaks: "sets the mode after the sync",
    file: "atomic.ts",
    find: "if (!runtime.windows) yield* setAttributes(file, request, target);",
    replace:
      'if (request.durability !== "none") yield* step(request, "fsync", () => file.sync());\n' +
      "    if (!runtime.windows) yield* setAttributes(file, request, target);",
    caughtBy: ["order"],
  },
  {
    breaks: "does not count the bytes",
    file: "atomic.ts",
    find: "offset += written;",
    replace: "offset += rest.byteLength;",
    caughtBy: ["faults_test.ts", "continues short writes"],
  },
  {
    breaks: "opens the temporary file not exclusively",
    file: "runtime/deno.ts",
    find: "const options = { write: true, createNew: true };",
    replace: "const options = { write: true, create: true };",
    caughtBy: ["atomic_test.ts", "planted at the temporary name"],
  },
  {
    breaks: "makes the temporary file wider than the target",
    file: "atomic.ts",
    find: "const mode = target.mode === undefined ? undefined : target.mode & 0o777;",
    replace: "const mode = undefined;",
    caughtBy: ["atomic_test.ts", "no wider than the target"],
  },
  {
    breaks: "leaves the temporary file after a failure",
    file: "atomic.ts",
    find: "yield* call((fs) => fs.remove(draft.temp));",
    replace: "yield* call(() => {});",
    caughtBy: ["faults_test.ts", "survives a failure"],
  },
  {
    breaks: "leaves the descriptor open after a failure",
    file: "atomic.ts",
    find: "if (file !== undefined) yield* call(() => file.close());",
    replace: "",
    caughtBy: ["faults_test.ts", "survives a failure"],
  },
  {
    breaks: "publishes after a failed write",
    file: "atomic.ts",
    find: "if (this.#failure !== undefined) throw this.#failure.error;",
    replace: "",
    caughtBy: ["stream_test.ts", "does not publish after a write has failed"],
  },
  {
    breaks: "lets calls on one path overtake each other",
    file: "atomic.ts",
    find: "return this.#line.landed > this.#number;",
    replace: "return false;",
    caughtBy: ["atomic_test.ts", "last call on a path win"],
  },
  {
    breaks: "replaces a FIFO",
    file: "_target.ts",
    find: 'throw runtime.error("ENOTSUP", "Is a FIFO, a socket or a device", path);',
    replace: "return { path, info: undefined };",
    caughtBy: ["atomic_test.ts", "refuses a FIFO"],
  },
  {
    breaks: "replaces a link",
    file: "_target.ts",
    find: 'if (allowed === "follow") break;',
    replace: "",
    caughtBy: ["atomic_test.ts", "follows a symbolic link"],
  },
  {
    breaks: "locks without a look at the name afterwards",
    file: "lock.ts",
    find: 'if (info?.kind !== "file" || identity(request, info) !== id) return undefined;',
    replace: "void info;",
    caughtBy: ["lock_test.ts", "was replaced before the lock was granted"],
  },
  {
    breaks: "follows a planted link to a lock file",
    file: "lock.ts",
    find: 'else if (info.kind === "file") return identity(request, info);',
    replace: "else return identity(request, info);",
    caughtBy: ["lock_test.ts", "refuses a lock file that is a link"],
  },
  {
    breaks: "has no queue",
    file: "lock.ts",
    find: "while (queue.waiters[0] !== waiter || !admits(queue, request.shared)) {",
    replace: "while (!admits(queue, request.shared)) {",
    caughtBy: ["lock_test.ts", "in the order in which they came"],
  },
  {
    breaks: "waits in the kernel with every waiter",
    file: "lock.ts",
    find: "kernelWaits < runtime.kernelWaits",
    replace: "runtime.kernelWaits > 0",
    caughtBy: ["lock_test.ts", "four times at most in the kernel"],
  },
  {
    breaks: "takes an exclusive lock for a shared one",
    file: "runtime/deno.ts",
    find: "tryLock: (exclusive) => file.tryLockSync(exclusive),",
    replace: "tryLock: () => file.tryLockSync(false),",
    caughtBy: ["interop_test.ts", "DirLock keeps flock(1) out"],
  },
  {
    breaks: "keeps its timer after giving up",
    file: "lock.ts",
    find: "clearTimeout(timer);",
    replace: "",
    caughtBy: ["lock_test.ts", "beyond a timer's range"],
  },
  {
    breaks: "blocks on a lock of its own thread",
    file: "lock.ts",
    find: "throw new DeadlockError(request.path);",
    replace: "throw new LockTimeoutError(request.path, 0);",
    caughtBy: ["lock_test.ts", "throws a DeadlockError"],
  },
  {
    breaks: "loses updates",
    file: "update.ts",
    find: ": await DirLock.acquire(dirname(target), { ...signal && { signal }, ...lock });",
    replace: ": undefined;",
    caughtBy: ["update_test.ts", "loses none"],
  },
  {
    breaks: "ignores options that it does not know",
    file: "_options.ts",
    find: "if (unknown !== undefined) throw new TypeError(`Unknown option '${unknown}'`);",
    replace: "void unknown;",
    caughtBy: ["options_test.ts", "rejects bad options"],
  },
  {
    breaks: "sweeps what is in use",
    file: "atomic.ts",
    find: 'if (kind !== "file" || mtime > before) continue;',
    replace: 'if (kind !== "file") continue;',
    caughtBy: ["atomic_test.ts", "removes old temporary files"],
  },
];

/** Each guarantee, broken on purpose, is caught by the check that is to catch it. */
export const proveMutants: Part = async ({ short }) => {
  const tally = new Tally();
  const base = fs.mkdtempSync(path.join(os.tmpdir(), "prove-mutants-"));
  const candidates = mutants.filter(({ caughtBy }) =>
    caughtBy.length === 2 || (canTrace && !short)
  );
  await inParallel(candidates, 2, async (mutant) => {
    await tally.try(mutant.breaks, async () => {
      const dir = fs.mkdtempSync(path.join(base, "mutant-"));
      for (const name of fs.readdirSync(root)) {
        if ([".git", "npm", "node_modules"].includes(name)) continue;
        fs.cpSync(path.join(root, name), path.join(dir, name), {
          recursive: true,
          filter: (from) => !from.includes("node_modules"),
        });
      }
      if (!await passes(dir, mutant)) throw new Error("its check fails on the sound library");
      const file = path.join(dir, mutant.file);
      const source = fs.readFileSync(file, "utf8");
      if (source.split(mutant.find).length !== 2) throw new Error("there is no one place to break");
      fs.writeFileSync(file, source.replace(mutant.find, () => mutant.replace));
      if (await passes(dir, mutant)) throw new Error("its check does not notice");
      fs.rmSync(dir, { recursive: true });
    });
  });
  fs.rmSync(base, { recursive: true });
  return [tally.row("Each check can fail", "a guarantee is broken in a copy")];
};

/** Whether the check of a mutant passes in a copy of the repository. */
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
  // A broken lock may well wait for ever.
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const { success } = await child.status;
  clearTimeout(timer);
  return success;
}
