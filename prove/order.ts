import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { isRoot } from "../tests/support/test.ts";
import { inParallel, type Part, type Row, same, type Scale, Tally } from "./part.ts";
import { replay } from "./power.ts";
import { type Call, canTrace, TEMP_NAME, traced, type Write } from "./strace.ts";

/**
 * Reads a trace of the calls that touch a directory, its file and the temporary file; throws if it
 * contains any other call.
 */
function parse(trace: readonly string[], dir: string): Call[] {
  const [file, temp] = [path.join(dir, "file"), path.join(dir, TEMP_NAME)];
  const calls: Call[] = [];
  for (const line of trace) {
    const call = /^\d+ +(\w+)\((.*)\) += (-?\d+)/.exec(line);
    if (call === null) throw new Error(`not understood: ${line}`);
    const [, name, args, result] = call;
    if (Number(result) < 0) throw new Error(`failed: ${line}`);
    const onTemp = args!.includes(`<${temp}>`);
    const onDir = args!.includes(`<${dir}>`);
    const add = (name: Call["name"], bytes = 0) => calls.push({ name, bytes });
    if (name === "openat") {
      if (args!.includes(`"${temp}"`) && args!.includes("O_CREAT")) {
        if (!args!.includes("O_EXCL")) throw new Error(`not exclusive: ${line}`);
        add("create");
      } else if (args!.includes(`"${temp}"`)) {
        // Deno opens the path to call fchmod(2); nothing is written through that descriptor.
        if (!args!.includes("O_RDONLY") || !args!.includes("O_NOFOLLOW")) {
          throw new Error(`opened: ${line}`);
        }
      } else if (!args!.includes(`"${dir}"`) || !args!.includes("O_RDONLY")) {
        throw new Error(`opened: ${line}`);
      }
    } else if (["write", "pwrite64", "writev"].includes(name!) && onTemp) {
      add("write", Number(result));
    } else if (name === "fchown" && onTemp) add("owner");
    else if (name === "fchmod" && onTemp) add("mode");
    else if (name === "fsync" && onTemp) add("sync");
    else if (name === "fsync" && onDir) add("sync dir");
    else if (name!.startsWith("rename") && args!.includes(temp) && args!.includes(`"${file}"`)) {
      add("rename");
    } else if (name!.startsWith("link") && args!.includes(temp) && args!.includes(`"${file}"`)) {
      add("link");
    } else if (name!.startsWith("unlink") && args!.includes(temp)) add("unlink");
    else throw new Error(`not expected: ${line}`);
  }
  return calls;
}

/** Returns the calls that a write must make, in the required order. */
function expected({ runtime, durability, createNew, existing, mode, form }: Write): string[] {
  const keeps = existing && !createNew;
  const calls = ["create", "write"];
  const atOnce = runtime.name === "Deno" && durability === "none" && form !== "stream" &&
    !(keeps && isRoot);
  if (atOnce && (keeps || mode !== undefined)) {
    // A single call creates the file, sets its mode and writes to it.
    calls.splice(1, 0, "mode");
  } else {
    if (keeps && isRoot) calls.push("owner");
    // The umask 022 clears some bits of 0o666.
    if (keeps || mode === 0o666) calls.push("mode");
  }
  if (durability !== "none") calls.push("sync");
  calls.push(...createNew ? ["link", "unlink"] : ["rename"]);
  if (durability === "durable") calls.push("sync dir");
  return calls;
}

/**
 * Checks that calls are made in the order that each durability level requires. Then replays the
 * calls in a model and checks that the files survive a power cut.
 */
export const proveOrder: Part = async ({ short, runtimes }: Scale): Promise<Row[]> => {
  if (!canTrace) return [];
  const order = new Tally();
  const power = { none: new Tally(), consistent: new Tally(), durable: new Tally() };
  const base = fs.mkdtempSync(path.join(os.tmpdir(), "prove-order-"));
  const writes: Write[] = [];
  for (const runtime of runtimes) {
    for (const form of ["async", "sync", "stream"] as const) {
      for (const durability of ["none", "consistent", "durable"] as const) {
        for (const existing of [true, false]) {
          writes.push({ runtime, form, durability, existing });
          if (short) continue;
          writes.push({ runtime, form, durability, existing, mode: 0o666 });
          if (!existing) writes.push({ runtime, form, durability, existing, createNew: true });
        }
      }
    }
  }
  let trial = 0;
  let torn = 0;
  await inParallel(writes, 3, async (write) => {
    const { runtime, form, durability, existing, createNew, mode } = write;
    const title = `${runtime.name} ${form} ${durability}${existing ? " replacing" : ""}` +
      `${createNew ? " createNew" : ""}${mode === undefined ? "" : " mode"}`;
    let calls: Call[] = [];
    await order.try(title, async () => {
      const dir = path.join(base, String(trial++));
      const paths = [dir, path.join(dir, "file"), path.join(dir, TEMP_NAME)];
      const outcome = await traced(write, dir, paths);
      same(outcome.told, "written");
      calls = parse(outcome.trace, dir);
      const merged = calls.map(({ name }) => name)
        .filter((name, i, all) => name !== "write" || all[i - 1] !== "write");
      // By the time the first attempt notices the different owner, it has already written data.
      const tries = merged.lastIndexOf("create");
      same(merged.slice(tries), expected(write));
      if (tries > 0) {
        same([durability, merged.slice(0, tries)], ["none", ["create", "mode", "write", "unlink"]]);
      }
      calls = calls.slice(calls.findLastIndex(({ name }) => name === "create"));
    });
    const { states, bad } = replay(calls, existing, durability);
    power[durability].trials += states;
    torn += durability === "none" ? bad.length : 0;
    if (durability !== "none") power[durability].failures.push(...bad.map((b) => `${title}: ${b}`));
  });
  if (torn === 0) power.none.failures.push("nothing was torn: the model is blind");
  fs.rmSync(base, { recursive: true });
  return [
    order.row("Files are created exclusively, synced and then renamed", "strace shows each call"),
    power.consistent.row(
      'With "consistent", a power cut leaves the old or the new content',
      "model of what reaches the disk",
    ),
    power.durable.row(
      'With "durable", a power cut leaves the new content',
      "model of what reaches the disk",
    ),
    power.none.row('With "none", the model produces torn files', `${torn} states torn`),
  ];
};
