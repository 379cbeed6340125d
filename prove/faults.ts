import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { isRoot } from "../tests/support/test.ts";
import { numberOf } from "../tests/support/content.ts";
import { inParallel, type Part, same, Tally } from "./part.ts";
import { canTrace, TEMP_NAME, traced, type Write } from "./strace.ts";

/** A system call that fails, and the required outcome of the write. */
interface Fault {
  readonly call: string;
  readonly error: string;
  /** The write's error code; undefined if the write succeeds anyway. */
  readonly code: string | undefined | { Deno: string | undefined; Node: string | undefined };
  /** Whether only the first call fails. */
  readonly once?: boolean;
  readonly createNew?: boolean;
  readonly durability?: Write["durability"];
}

const always = (call: string, ...errors: string[]): Fault[] =>
  errors.map((error) => ({ call, error, code: error }));

const faults: Fault[] = [
  ...always("openat", "EACCES", "EIO", "ENOSPC", "EDQUOT"),
  // The library waits for a free descriptor; Rust and libuv retry interrupted calls.
  { call: "openat", error: "EMFILE", code: undefined, once: true },
  { call: "openat", error: "ENFILE", code: undefined, once: true },
  { call: "openat", error: "EINTR", code: undefined, once: true },
  ...always("write", "EIO", "ENOSPC", "EDQUOT", "EFBIG"),
  { call: "write", error: "EINTR", code: undefined, once: true },
  ...always("fsync", "EIO", "ENOSPC", "EDQUOT"),
  ...always("fchmod", "EIO", "EROFS"),
  { call: "fchmod", error: "EPERM", code: undefined },
  { call: "fchmod", error: "EACCES", code: undefined },
  ...always("fchown", "EIO", "EDQUOT"),
  { call: "fchown", error: "EPERM", code: undefined },
  ...always("rename", "EIO", "ENOSPC", "EDQUOT", "EACCES", "EXDEV", "EBUSY"),
  // libuv would retry an interrupted call; Deno reports it.
  { call: "rename", error: "EINTR", code: { Deno: "EINTR", Node: undefined }, once: true },
  ...["EIO", "EMLINK", "ENOSPC"].map((error) => {
    return { call: "link", error, code: error, createNew: true };
  }),
  // FAT and exFAT return this error, because they have no hard links.
  { call: "link", error: "EPERM", code: "ENOTSUP", createNew: true },
];

const dirFaults: Fault[] = [
  { call: "fsync", error: "EIO", code: "EIO" },
  { call: "fsync", error: "ENOSPC", code: "ENOSPC" },
  { call: "fsync", error: "EINVAL", code: undefined },
  { call: "fsync", error: "EOPNOTSUPP", code: undefined },
];

/** strace's names for equivalent calls. */
const CALLS: Record<string, string> = {
  write: "write,pwrite64,writev",
  rename: "rename,renameat,renameat2",
  link: "link,linkat",
};

/**
 * Makes real system calls fail. The file must be complete, with either the old or the new content.
 * No temporary file may be left behind, and the error must be correct.
 */
export const proveFaults: Part = async ({ short, runtimes }) => {
  const files = new Tally();
  const dirs = new Tally();
  if (!canTrace) return [];
  const base = fs.mkdtempSync(path.join(os.tmpdir(), "prove-faults-"));
  let trial = 0;

  const work: (() => Promise<void>)[] = [];
  for (const runtime of runtimes) {
    for (const form of short ? ["async"] as const : ["async", "sync", "stream"] as const) {
      for (const existing of short ? [true] : [true, false]) {
        for (const fault of faults) {
          const { call, error, once, createNew = false } = fault;
          const code = typeof fault.code === "object"
            ? fault.code[runtime.name as "Deno" | "Node"]
            : fault.code;
          if ((call === "fchmod" || call === "fchown") && (!existing || createNew)) continue;
          if (call === "fchown" && !isRoot) continue;
          if (createNew && existing && !short) continue;
          // Node's writeSync() loses the error number if libuv has no name for the error.
          if (
            runtime.name === "Node" && form === "sync" && call === "write" && error === "EDQUOT"
          ) {
            continue;
          }
          const write: Write = {
            runtime,
            form,
            durability: "consistent",
            createNew,
            existing: existing && !createNew,
          };
          const title = `${runtime.name} ${form} ${existing ? "replacing" : "creating"}, ` +
            `${call} ${error}`;
          work.push(() =>
            files.try(title, async () => {
              const dir = path.join(base, String(trial++));
              const inject = `${CALLS[call] ?? call}:error=${error}${once ? ":when=1" : ""}`;
              const outcome = await traced(write, dir, [path.join(dir, TEMP_NAME)], inject);
              if (!outcome.trace.some((line) => line.includes("(INJECTED)"))) {
                throw new Error("nothing was injected");
              }
              same(outcome.told, code === undefined ? "written" : `${code} false`);
              same(outcome.open, 0);
              const version = code === undefined ? 2 : write.existing ? 1 : 0;
              same(outcome.names, version === 0 ? [] : ["file"]);
              if (version > 0) same(numberOf(fs.readFileSync(path.join(dir, "file"))), version);
            })
          );
        }
        for (const { call, error, code } of dirFaults) {
          const write: Write = { runtime, form, durability: "durable", existing };
          work.push(() =>
            dirs.try(`${runtime.name} ${form}, ${call} of the directory ${error}`, async () => {
              const dir = path.join(base, String(trial++));
              const outcome = await traced(write, dir, [dir], `${call}:error=${error}`);
              if (!outcome.trace.some((line) => line.includes("(INJECTED)"))) {
                throw new Error("nothing was injected");
              }
              same(outcome.told, code === undefined ? "written" : `${code} true`);
              same([outcome.open, outcome.names], [0, ["file"]]);
              same(numberOf(fs.readFileSync(path.join(dir, "file"))), 2);
            })
          );
        }
      }
    }
  }
  await inParallel(work, 3, (next) => next());
  fs.rmSync(base, { recursive: true });
  return [
    files.row("A failed write changes nothing", "strace makes a system call fail"),
    dirs.row("After the rename, only a directory sync can fail", "strace makes fsync fail"),
  ];
};
