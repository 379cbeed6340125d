import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { Child } from "../tests/support/child.ts";
import { content } from "../tests/support/content.ts";
import { isRoot } from "../tests/support/test.ts";
import type { Runtime } from "./part.ts";

/** The parts of a system call that the checks need. */
export interface Call {
  readonly name:
    | "create"
    | "write"
    | "owner"
    | "mode"
    | "sync"
    | "rename"
    | "link"
    | "unlink"
    | "sync dir";
  /** The number of bytes written. */
  readonly bytes: number;
}

/** Whether strace works here. */
export const canTrace: boolean = (() => {
  const { status } = spawnSync("strace", ["-f", "--seccomp-bpf", "-o", "/dev/null", "true"]);
  return status === 0;
})();

/** The write to trace. */
export interface Write {
  readonly runtime: Runtime;
  readonly form: "async" | "sync" | "stream";
  readonly durability: "none" | "consistent" | "durable";
  readonly createNew?: boolean;
  readonly mode?: number;
  /**
   * Whether the write replaces a file with a different owner and a mode that the umask would
   * restrict.
   */
  readonly existing: boolean;
}

/** The outcome of a traced write. */
export interface Outcome {
  /** "written", or the error's code and `replaced`. */
  readonly told: string;
  /** The number of descriptors left open for files in the directory. */
  readonly open: number;
  /** The calls, one per line. */
  readonly trace: readonly string[];
  /** The directory's entries. */
  readonly names: readonly string[];
}

/** The name that the `writeOnce` job in worker.ts gives the temporary file. */
export const TEMP_NAME = ".file.1111111111111111.tmp";

const OLD = content(1, 5_000);
const OWNER = 12345;

/**
 * Performs a write in a process under strace, which reports all calls that touch `paths`. `inject`
 * specifies the calls that fail, in the syntax of strace's `inject` option.
 */
export async function traced(
  write: Write,
  dir: string,
  paths: readonly string[],
  inject?: string,
): Promise<Outcome> {
  const file = path.join(dir, "file");
  fs.rmSync(dir, { recursive: true, force: true });
  fs.mkdirSync(dir);
  if (write.existing) {
    fs.writeFileSync(file, OLD);
    fs.chmodSync(file, 0o666);
    if (isRoot) fs.chownSync(file, OWNER, OWNER);
  }
  const log = `${dir}.log`;
  const calls =
    "openat,open,creat,write,pwrite64,writev,fsync,fdatasync,ftruncate,truncate,fchmod," +
    "fchmodat,chmod,fchown,fchownat,chown,lchown,rename,renameat,renameat2,link,linkat,unlink,unlinkat";
  const shell = [
    "umask 022; set -- strace -f --seccomp-bpf -qq -y -s 0",
    `-o '${log}' -e trace=${calls}`,
    ...paths.map((name) => `-P '${name}'`),
    inject === undefined ? "" : `-e inject=${inject}`,
    '"$@"',
  ].join(" ");
  const { durability, createNew, mode } = write;
  const options = JSON.stringify({ durability, createNew, mode });
  const child = new Child("writeOnce", [file, write.form, options], {
    ...write.runtime.options,
    shell,
  });
  const said = (await child.line()).split(" ");
  const code = await child.exit();
  if (code !== 0) throw new Error(`the worker ended with ${code}`);
  return {
    told: said.slice(0, -1).join(" "),
    open: Number(said.at(-1)),
    trace: fs.readFileSync(log, "utf8").trimEnd().split("\n").filter((line) => line !== ""),
    names: fs.readdirSync(dir).sort(),
  };
}
