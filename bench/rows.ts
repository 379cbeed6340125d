import { type Measure, measureOf } from "./contest.ts";
import { BY_HAND, contests, OURS } from "./contests.ts";
import { compileFlock, type Runtime } from "./setup.ts";
import { type Bench, crowd, type Together, updates, updatesEach, work } from "./work.ts";

/** A goal: a limit on the row's result, either relative to another contender or absolute. */
export interface Goal {
  readonly runtime: Runtime["id"];
  /** The other contender; absent if the limit is absolute. */
  readonly against?: string;
  readonly least?: number;
  readonly most?: number;
}

/** One row of the table: what is measured, on which runtimes, and the goals. */
export interface Row {
  readonly title: string;
  readonly runtimes: readonly Runtime["id"][];
  readonly unit: "time" | "MiB" | "KiB" | "files" | "turns" | "updates/s";
  /** The contender that the goals apply to; ours by default. */
  readonly subject?: string;
  /**
   * The peers for which the ratio states how many times faster our library is, not how many times
   * slower.
   */
  readonly faster?: readonly string[];
  readonly goals: readonly Goal[];
  measure(
    bench: Bench,
    runtime: Runtime,
    id: string,
  ): Promise<Record<string, Measure>>;
}

/** A contender whose result has no unit, although its row has one. */
export const JAIN = "Jain's index";
/** The two peers that, combined, can update a file. */
const PEERS_TOGETHER = "proper-lockfile, write-file-atomic";
/** The program that the contention rows are compared with. */
export const C_PROGRAM = "C, flock(2)";

const ALL = ["deno", "node", "bun"] as const;
const PEERS = [
  "write-file-atomic",
  "atomically",
  "fast-write-atomic",
  "proper-lockfile",
  "lockfile",
];
const most = (
  runtime: Runtime["id"],
  against: string | undefined,
  most: number,
): Goal => ({
  runtime,
  ...against !== undefined && { against },
  most,
});
const least = (
  runtime: Runtime["id"],
  against: string | undefined,
  least: number,
): Goal => ({
  runtime,
  ...against !== undefined && { against },
  least,
});

function contest(
  title: string,
  goals: Goal[],
  runtimes: readonly Runtime["id"][] = ALL,
): Row {
  return {
    title,
    runtimes,
    unit: "time",
    faster: PEERS,
    goals,
    measure: ({ quick, calls, ...bench }, runtime, id) =>
      work(bench, runtime, id, { quick, calls }),
  };
}

/** All rows, keyed by the name that `--only` accepts. */
export const rows: Record<string, Row> = {
  "async-none": contest('4 KiB, asynchronous, "none"', [
    most("node", BY_HAND, 1.25),
    least("node", "write-file-atomic", 3.2),
    least("node", "atomically", 2.2),
    least("node", "fast-write-atomic", 0.9),
    most("deno", BY_HAND, 1.25),
  ]),
  "async-consistent": contest('4 KiB, asynchronous, "consistent"', [
    most("node", BY_HAND, 1.2),
    least("node", "write-file-atomic", 3),
    least("node", "atomically", 1.6),
  ]),
  "sync-none": contest('4 KiB, synchronous, "none"', [
    most("node", BY_HAND, 1.25),
    most("deno", BY_HAND, 1.25),
  ]),
  "sync-consistent": contest('4 KiB, synchronous, "consistent"', [
    least("node", "atomically", 1.2),
  ]),
  "lock-sync": contest("A free lock, synchronous", [
    most("deno", BY_HAND, 1.2),
    most("node", BY_HAND, 1.2),
    most("bun", BY_HAND, 1.2),
    least("node", "proper-lockfile", 4),
    least("node", "lockfile", 1),
  ]),
  "lock-async": contest("A free lock, asynchronous", [
    least("node", "proper-lockfile", 6),
  ]),
  "one-path-100": contest("100 concurrent calls for the same path", [
    least("node", "write-file-atomic", 20),
  ]),
  "one-path-1000": contest("1,000 concurrent calls for the same path", [
    most("node", "steno", 2.2),
  ]),
  "paths-100": contest("100 paths concurrently, 4 KiB each", [
    least("node", "write-file-atomic", 4),
  ]),
  "paths-20MB": contest(
    "100 paths concurrently, 20 MB each (10 paths with --quick)",
    [
      least("node", "write-file-atomic", 1),
    ],
  ),
  "waiters": {
    title: "Time until every waiter has held the lock",
    runtimes: ALL,
    unit: "time",
    subject: "100,000",
    goals: [most("deno", "10,000", 12), most("node", "10,000", 12)],
    measure: (bench, runtime) => growing(bench, runtime, "drain", [100_000, 10_000]),
  },
  "parallel": {
    title: "Parallel writes of 100 bytes, with ulimit -n 1024",
    runtimes: ALL,
    unit: "time",
    subject: "40,000",
    goals: [most("deno", "10,000", 5), most("node", "10,000", 5)],
    measure: (bench, runtime) =>
      growing(bench, runtime, "parallel", [40_000, 10_000], "ulimit -n 1024"),
  },
  "json-7MB": contest("updateJson() of 7 MB", [
    most("node", BY_HAND, 1.6),
    most("deno", BY_HAND, 2),
    most("bun", BY_HAND, 3),
  ]),
  "json-1KB": contest("updateJsonSync() of 1 KB", [
    most("node", BY_HAND, 2.1),
    most("deno", BY_HAND, 1.4),
    most("bun", BY_HAND, 2.4),
  ]),
  "json-46MB-unchanged": contest("updateJson() of 46 MB without a change", [
    most("node", "read, parse", 2.5),
    most("deno", "read, parse", 2.5),
    most("bun", "read, parse", 3.5),
  ]),
  "parents": contest("2,000 files in 1,024 new directories, parents: true", [
    most("node", "mkdir, then a write", 1.05),
    most("deno", "mkdir, then a write", 1.05),
  ]),
  "chunks": contest("1,000,000 chunks of one byte, async iterable", [
    most("deno", undefined, 1_000),
    most("node", undefined, 1_000),
  ]),
  "readable": contest("1,000,000 chunks of one byte, Node's Readable", [
    most("node", "the bare stream", 1.5),
  ]),
  "writable": contest("1,000,000 chunks of one byte, AtomicFile.writable", [
    most("deno", "the bare stream", 1.5),
    most("node", "the bare stream", 1.5),
  ]),
  "import": {
    title: "Import in a fresh process",
    runtimes: ["node", "bun"],
    unit: "time",
    goals: [most("node", "write-file-atomic", 1.2)],
    measure: (bench, runtime) => compared(bench, runtime, "import", bench.quick ? 7 : 21),
  },
  "files": {
    title: "Files loaded by an import",
    runtimes: ["node"],
    unit: "files",
    goals: [most("node", undefined, 25)],
    measure: (bench, runtime) => alone(bench, runtime, "files", 0, 1),
  },
  "stream-memory": {
    title: "Memory growth while 1 GiB is streamed",
    runtimes: ALL,
    unit: "MiB",
    goals: [most("deno", undefined, 32), most("node", undefined, 32)],
    measure: (bench, runtime) => alone(bench, runtime, "stream-memory", 1_024, bench.quick ? 1 : 3),
  },
  "waiter-memory": {
    title: "Memory per waiter, with 10,000 waiters",
    runtimes: ALL,
    unit: "KiB",
    goals: [most("deno", undefined, 1.5), most("node", undefined, 1.5)],
    measure: (bench, runtime) =>
      alone(bench, runtime, "waiter-memory", 10_000, bench.quick ? 1 : 3),
  },
  "contention": {
    title: "Turns of 8 processes in 2 s, with the lock held for 200 µs",
    runtimes: ALL,
    unit: "turns",
    goals: [
      least("node", C_PROGRAM, 0.74),
      least("node", JAIN, 0.94),
    ],
    measure: contention,
  },
};

for (const count of [4, 16, 64]) {
  for (const own of [false, true]) {
    const what = own
      ? `${count} JSON files of one directory, each with its own lock`
      : "one JSON file";
    const id = `${own ? "own" : "shared"}-${count}`;
    const goals = {
      "shared-4": [least("node", undefined, 1_200)],
      "shared-16": [least("node", undefined, 800)],
      "shared-64": [least("node", PEERS_TOGETHER, 1)],
      "own-64": [least("node", PEERS_TOGETHER, 0.9)],
    }[id] ?? [];
    rows[id] = {
      title: `${count} processes, ${updatesEach(count)} updates each of ${what}`,
      runtimes: ALL,
      unit: "updates/s",
      goals,
      measure: async (bench, runtime) =>
        mapped(
          await crowds(bench, runtime, count, own),
          ({ updatesPerSecond }) => updatesPerSecond,
        ),
    };
    if (own) continue;
    rows[`${id}-p99`] = {
      title: `… the 99th percentile of the update time`,
      runtimes: ALL,
      unit: "time",
      faster: [PEERS_TOGETHER],
      goals: count === 64 ? [least("node", PEERS_TOGETHER, 1)] : [],
      measure: async (bench, runtime) =>
        mapped(await crowds(bench, runtime, count, own), ({ p99 }) => p99),
    };
  }
}

for (const id of Object.keys(contests)) {
  if (rows[id] === undefined) throw new Error(`No row shows the contest ${id}`);
}

type Crowds = Record<string, Together[]>;

/**
 * Results by runtime, count and kind. The results are kept because two rows show different figures
 * from the same runs.
 */
const crowdsSoFar = new Map<string, Promise<Crowds>>();

/** Alternates between our library and the peers, with `count` processes updating concurrently. */
export function crowds(
  bench: Bench,
  runtime: Runtime,
  count: number,
  own: boolean,
): Promise<Crowds> {
  const key = `${runtime.name}/${count}/${own}`;
  const known = crowdsSoFar.get(key);
  if (known !== undefined) return known;
  const measured = (async () => {
    const found: Crowds = { [OURS]: [], ...runtime.id === "node" && { [PEERS_TOGETHER]: [] } };
    // A round with 64 processes performs 1,280 updates and takes a minute.
    const rounds = bench.quick || count === 64 ? 1 : 3;
    for (let round = 0; round < rounds; round++) {
      for (const name of Object.keys(found)) {
        const of = name === OURS ? undefined : "proper-lockfile";
        found[name]!.push(await updates(bench, runtime, count, own, of));
      }
    }
    return found;
  })();
  crowdsSoFar.set(key, measured);
  return measured;
}

function mapped(found: Crowds, number: (one: Together) => number): Record<string, Measure> {
  return Object.fromEntries(
    Object.entries(found).map(([name, all]) => [name, measureOf(all.map(number))]),
  );
}

/** Repeats a measurement. */
async function alone(
  bench: Bench,
  runtime: Runtime,
  name: string,
  count: number,
  rounds: number,
): Promise<Record<string, Measure>> {
  const samples: number[] = [];
  for (let round = 0; round < rounds; round++) {
    samples.push(await work(bench, runtime, name, { count }));
  }
  return { [OURS]: measureOf(samples) };
}

/** Alternates between our library and write-file-atomic. */
async function compared(
  bench: Bench,
  runtime: Runtime,
  name: string,
  rounds: number,
): Promise<Record<string, Measure>> {
  const [own, other]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    own.push(await work(bench, runtime, name, { count: 0 }));
    other.push(
      await work(bench, runtime, name, { count: 0, of: "write-file-atomic" }),
    );
  }
  return { [OURS]: measureOf(own), "write-file-atomic": measureOf(other) };
}

/** Runs our library with increasing amounts of work. */
async function growing(
  bench: Bench,
  runtime: Runtime,
  name: string,
  counts: readonly number[],
  shell?: string,
): Promise<Record<string, Measure>> {
  const samples = counts.map(() => [] as number[]);
  for (let round = 0; round < (bench.quick ? 1 : 3); round++) {
    for (const [i, count] of counts.entries()) {
      samples[i]!.push(await work(bench, runtime, name, { count }, shell));
    }
  }
  return Object.fromEntries(
    counts.map((
      count,
      i,
    ) => [count.toLocaleString("en"), measureOf(samples[i]!)]),
  );
}

async function contention(
  bench: Bench,
  runtime: Runtime,
): Promise<Record<string, Measure>> {
  const program = compileFlock(bench.dir);
  const [own, fair, other]: number[][] = [[], [], []];
  for (let round = 0; round < (bench.quick ? 1 : 3); round++) {
    const turns = await crowd(bench, runtime, 8, 2_000);
    own!.push(sum(turns));
    fair!.push(jain(turns));
    if (program !== undefined) {
      other!.push(sum(await crowd(bench, program, 8, 2_000)));
    }
  }
  return {
    [OURS]: measureOf(own!),
    ...program !== undefined && { [C_PROGRAM]: measureOf(other!) },
    [JAIN]: measureOf(fair!),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** Jain's fairness index: 1 if all shares are equal, 1/n if one process gets everything. */
function jain(turns: readonly number[]): number {
  return sum(turns) ** 2 / (turns.length * sum(turns.map((n) => n * n)));
}
