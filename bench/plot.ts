import * as fs from "node:fs";
import { fileURLToPath } from "node:url";
import type { Grown } from "./curves.ts";
import { OURS } from "./contests.ts";
import { measureOf } from "./contest.ts";
import { C_PROGRAM, crowds } from "./rows.ts";
import { compileFlock, type Runtime, runtimes } from "./setup.ts";
import { type Bench, crowd, type Together, work } from "./work.ts";

/** A chart: its labels and its curves. */
export interface Picture {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly grown: Grown;
  /** Whether the x axis shows bytes, in powers of 1024. */
  readonly bytes?: boolean;
}

/** A curve and how it is measured. */
interface Drawn extends Omit<Picture, "grown"> {
  measure(bench: Bench, node: Runtime): Promise<Grown>;
}

const byWorker = (name: string, shell?: string): Drawn["measure"] => (bench, node) =>
  work(bench, node, name, { quick: bench.quick }, shell);

const drawn: Record<string, Drawn> = {
  "size": {
    title: "Time per call by file size",
    x: "bytes",
    y: "milliseconds",
    bytes: true,
    measure: byWorker("curve-size"),
  },
  "parallel": {
    title: "Time for all parallel calls, with ulimit -n 1024",
    x: "concurrent calls, 100 bytes each",
    y: "milliseconds for all",
    measure: byWorker("curve-parallel", "ulimit -n 1024"),
  },
  "waiters": {
    title: "Time until every waiter has held the lock",
    x: "waiters in one process",
    y: "milliseconds for all",
    measure: byWorker("curve-waiters"),
  },
  "processes": {
    title: "Time per turn with a lock held for 0.2 ms",
    x: "processes competing for the lock",
    y: "milliseconds per turn",
    measure: processes,
  },
  "updates": {
    title: "Updates per second to one JSON file",
    x: "processes, 50 updates each",
    y: "updates per second",
    measure: (bench, node) => together(bench, node, ({ updatesPerSecond }) => updatesPerSecond),
  },
  "updates-p99": {
    title: "99th percentile of the update time",
    x: "processes, 50 updates each",
    y: "milliseconds",
    measure: (bench, node) => together(bench, node, ({ p99 }) => p99),
  },
  "files": {
    title: "Time per call by number of files in the directory",
    x: "other files in the directory",
    y: "milliseconds",
    measure: byWorker("curve-files"),
  },
};

const pictures = fileURLToPath(new URL("../docs/bench/", import.meta.url));

/** Measures the curves on Node and draws the charts into docs/bench/. */
export async function plot(
  bench: Bench,
  names: readonly string[] = Object.keys(drawn),
): Promise<void> {
  const [node] = await runtimes(["node"]);
  if (node === undefined) {
    throw new Error("Node is missing, but the peers and the charts require it");
  }
  fs.mkdirSync(pictures, { recursive: true });
  for (const name of names) {
    const curve = drawn[name];
    if (curve === undefined) {
      throw new Error(`Unknown curve '${name}': the curves are ${Object.keys(drawn).join(", ")}`);
    }
    const { measure, ...picture } = curve;
    const started = performance.now();
    const grown = await measure(bench, node);
    const svg = await work<string>(bench, node, "draw", { ...picture, grown });
    fs.writeFileSync(`${pictures}${name}.svg`, svg);
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    console.log(`docs/bench/${name}.svg: ${seconds} s`);
    for (const [contender, end] of Object.entries(grown.ends)) {
      console.log(`  ${contender} ends: ${end}`);
    }
  }
}

/** Measures the throughput or the latency of updates for each number of processes. */
async function together(
  bench: Bench,
  node: Runtime,
  number: (one: Together) => number,
): Promise<Grown> {
  const lines: Grown["lines"] = {};
  for (const count of bench.quick ? [1, 4, 16] : [1, 2, 4, 8, 16, 32, 64]) {
    for (const [name, all] of Object.entries(await crowds(bench, node, count, false))) {
      (lines[name] ??= []).push([count, measureOf(all.map(number)).median]);
    }
  }
  return { lines, ends: {} };
}

/** Measures the duration of a turn for each number of processes. */
async function processes(bench: Bench, node: Runtime): Promise<Grown> {
  const program = compileFlock(bench.dir);
  const milliseconds = bench.quick ? 300 : 2_000;
  const contenders: Record<string, (count: number) => Promise<number[]>> = {
    [OURS]: (count) => crowd(bench, node, count, milliseconds),
    "proper-lockfile": (count) => crowd(bench, node, count, milliseconds, "proper-lockfile"),
    ...program !== undefined && {
      [C_PROGRAM]: (count: number) => crowd(bench, program, count, milliseconds),
    },
  };
  const lines: Grown["lines"] = {};
  for (const count of bench.quick ? [1, 4, 16] : [1, 2, 4, 8, 16, 32, 64]) {
    for (const [name, contend] of Object.entries(contenders)) {
      const turns = (await contend(count)).reduce((sum, n) => sum + n, 0);
      (lines[name] ??= []).push([count, milliseconds / turns]);
    }
  }
  return { lines, ends: {} };
}
