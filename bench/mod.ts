/**
 * Compares the library's speed with that of bare system calls and of other libraries:
 *
 * ```sh
 * deno task bench [--quick] [--runtime deno,node,bun] [--only ROW,...] [--json FILE] [--calls N] [DIR]
 * deno task bench --plot [--quick] [--only CURVE,...]
 * ```
 *
 * The contenders take turns in one process, so that all of them run under the same conditions. The
 * ratios of the medians matter, not the absolute times. By default, each turn consists of 100
 * calls. With `--calls 1`, each call runs while the processor's caches hold the other contenders'
 * data. The goals apply to turns of 100 calls on an in-memory file system, which is the default for
 * DIR. The environment variable `APERTURE_NODE` selects another Node.js.
 *
 * @module
 */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parseArgs } from "node:util";
import { OURS } from "./contests.ts";
import type { Measure } from "./contest.ts";
import { plot } from "./plot.ts";
import { type Goal, JAIN, type Row, rows } from "./rows.ts";
import { installPeers, type Runtime, runtimes } from "./setup.ts";

const { values, positionals } = parseArgs({
  args: Deno.args.filter((arg) => arg !== "--"),
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    plot: { type: "boolean", default: false },
    runtime: { type: "string", default: "deno,node,bun" },
    only: { type: "string" },
    json: { type: "string" },
    calls: { type: "string", default: "100" },
  },
});

/** A row of the table. */
interface Line extends Measure {
  readonly runtime: string;
  readonly row: string;
  readonly contender: string;
  readonly unit: Row["unit"] | "";
  /** The ratio to the row's subject. */
  readonly ratio?: number;
  readonly faster?: boolean;
  readonly goal?: string;
  readonly met?: boolean;
}

const memory = fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir();
const dir = fs.mkdtempSync(
  path.join(positionals[0] ?? memory, "aperture-bench-"),
);
const bench = { dir, quick: values.quick, calls: Number(values.calls) };
let met = true;
try {
  installPeers();
  if (values.plot) {
    await plot(bench, values.only?.split(","));
  } else met = await table();
} finally {
  fs.rmSync(dir, { recursive: true });
}
Deno.exit(met ? 0 : 1);

/** Measures and prints the rows; returns whether all goals were met. */
async function table(): Promise<boolean> {
  const ids = values.only?.split(",") ?? Object.keys(rows);
  for (const id of ids) {
    if (rows[id] === undefined) {
      throw new Error(
        `Unknown row '${id}': the rows are ${Object.keys(rows).join(", ")}`,
      );
    }
  }
  const chosen = await runtimes(values.runtime.split(","));
  const machine = {
    processor: os.cpus()[0]?.model ?? "unknown",
    cores: os.cpus().length,
    system: `${os.type()} ${os.release()}`,
    fileSystem: fileSystem(dir),
  };
  console.log(
    `${machine.processor}, ${machine.cores} cores, ${machine.system}, ${machine.fileSystem}`,
  );
  const lines: Line[] = [];
  for (const runtime of chosen) {
    console.log(`\n${runtime.name}`);
    for (
      const id of ids.filter((id) => rows[id]!.runtimes.includes(runtime.id))
    ) {
      const row = rows[id]!;
      console.log(`  ${row.title}  [${id}]`);
      let measures: Record<string, Measure>;
      try {
        measures = await row.measure(bench, runtime, id);
      } catch (error) {
        console.log(`    FAILED: ${(error as Error).message}`);
        measures = {};
      }
      const found = linesOf(row, id, runtime, measures);
      for (const line of found) show(line);
      lines.push(...found);
    }
  }
  const goals = lines.filter((line) => line.goal !== undefined);
  const reached = goals.filter((line) => line.met === true).length;
  const missing = goals.filter((line) => line.met === undefined).length;
  if (values.json !== undefined) {
    fs.writeFileSync(
      values.json,
      JSON.stringify(
        { machine, quick: values.quick, calls: bench.calls, lines, goals: goals.length, reached },
        null,
        2,
      ),
    );
  }
  console.log(
    `\n${reached} of ${goals.length} goals met` +
      (missing > 0 ? `, ${missing} of them not measured` : "") +
      (machine.fileSystem === "tmpfs"
        ? ""
        : ` (they are stated for tmpfs: this is ${machine.fileSystem})`),
  );
  return reached === goals.length;
}

function linesOf(
  row: Row,
  id: string,
  runtime: Runtime,
  measures: Record<string, Measure>,
): Line[] {
  const subject = row.subject ?? OURS;
  const goals = row.goals.filter((goal) => goal.runtime === runtime.id);
  const names = new Set([
    ...Object.keys(measures),
    ...goals.map((goal) => goal.against ?? subject),
  ]);
  return [...names].map((contender): Line => {
    const measure = measures[contender] ??
      { lower: NaN, median: NaN, upper: NaN, samples: 0 };
    const goal = goals.find((goal) => (goal.against ?? subject) === contender);
    const faster = row.faster?.includes(contender) ?? false;
    const own = measures[subject]?.median ?? NaN;
    const ratio = faster ? measure.median / own : own / measure.median;
    const value = contender === subject || contender === JAIN ? measure.median : ratio;
    return {
      runtime: runtime.name,
      row: id,
      contender,
      unit: contender === JAIN ? "" : row.unit,
      ...measure,
      ...contender !== subject && contender !== JAIN && { ratio, faster },
      ...goal !== undefined && {
        goal: stated(goal, contender === subject ? row.unit : ""),
        ...!Number.isNaN(value) &&
          {
            met: value <= (goal.most ?? Infinity) && value >= (goal.least ?? 0),
          },
      },
    };
  });
}

function stated({ most, least }: Goal, unit: Line["unit"]): string {
  return most !== undefined ? `≤ ${amount(most, unit)}` : `≥ ${amount(least!, unit)}`;
}

function show(line: Line): void {
  const { contender, unit, lower, median, upper, ratio, faster, goal, met } = line;
  const quartiles = `${amount(lower, unit)} – ${amount(upper, unit)}`;
  const compared = ratio === undefined || Number.isNaN(ratio)
    ? ""
    : `${ratio.toFixed(2)} ${faster ? "times faster" : "times it"}`;
  const judged = goal === undefined
    ? ""
    : `goal ${goal}: ${met === undefined ? "not measured" : met ? "met" : "MISSED"}`;
  console.log(
    `    ${contender.padEnd(20)} ${amount(median, unit).padStart(10)}  ${quartiles.padEnd(22)} ` +
      `${compared.padEnd(18)} ${judged}`.trimEnd(),
  );
}

/** Formats a number with its unit; times are in milliseconds. */
function amount(value: number, unit: Line["unit"]): string {
  if (Number.isNaN(value)) return "–";
  if (unit === "") return String(Number(value.toFixed(3)));
  if (["files", "turns", "updates/s"].includes(unit)) return `${Math.round(value)}`;
  if (unit !== "time") return `${Number(value.toFixed(1))} ${unit}`;
  if (value < 1) return `${(value * 1_000).toFixed(value < 0.1 ? 1 : 0)} µs`;
  return value < 1_000
    ? `${value.toFixed(value < 10 ? 2 : 0)} ms`
    : `${(value / 1_000).toFixed(2)} s`;
}

/** The type of the file system that contains a directory. */
function fileSystem(dir: string): string {
  const names: Record<number, string> = {
    0x01021994: "tmpfs",
    0xef53: "ext4",
    0x58465342: "xfs",
    0x9123683e: "btrfs",
    0x794c7630: "overlayfs",
  };
  return names[fs.statfsSync(dir).type] ?? "another file system";
}
