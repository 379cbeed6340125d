import * as fs from "node:fs";
import * as path from "node:path";
import * as library from "../mod.ts";
import { Child } from "../tests/support/child.ts";
import { content, numberOf } from "../tests/support/content.ts";
import {
  apart,
  groundRuntimes,
  lastOf,
  markdown,
  type ProveApart,
  roomFor,
  say,
  sh,
  sleep,
  versionOf,
} from "./ground.ts";
import { type Part, type Row, type Runtime, Tally } from "./part.ts";

const { atomicWriteSync, DirLock, isTempName, LOCK_FILE_NAME, sweepTempFiles } = library;

/**
 * Simulates power cuts on real file systems by mounting copies of the disk taken at random moments.
 */
export const provePowerCuts: Part = apart("power_cuts", "A power cut leaves the promised content", {
  commands: {
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    losetup: "mount",
  },
  devices: ["/dev/loop-control"],
});

/** A file system and how to create and mount it. */
interface Ground {
  readonly name: string;
  readonly make: string;
  readonly options: string;
  /** Whether the file system offers no guarantees, no matter what is synced. */
  readonly lawless?: boolean;
}

const grounds: readonly Ground[] = [
  { name: "ext4", make: "mkfs.ext4 -q", options: "" },
  { name: "xfs", make: "mkfs.xfs -q -f", options: "" },
  { name: "btrfs", make: "mkfs.btrfs -q -f", options: "" },
  { name: "ext4 noauto_da_alloc", make: "mkfs.ext4 -q", options: ",noauto_da_alloc" },
  // The file system reuses a replaced file's blocks before the replacement reaches the disk, so a
  // cut in between leaves another file's content under the old name.
  { name: "ext4 data=writeback", make: "mkfs.ext4 -q", options: ",data=writeback", lawless: true },
];

/** The durability levels, ordered from no guarantee to the strongest. */
const durabilities = ["bare", "none", "consistent", "durable"] as const;
type Durability = typeof durabilities[number];

const variants = [
  "no sync of the file",
  "no sync of the directory",
  "sync after the rename",
] as const;

interface Writer {
  readonly runtime: Runtime;
  readonly durability: Durability;
  readonly variant?: string;
}

/**
 * The outcomes of power cuts for files of one kind that were written with the same durability
 * level.
 */
interface Found {
  files: number;
  /** Complete and at least as new as the last acknowledged version. */
  newest: number;
  /** Complete but older than the last acknowledged version, or missing. */
  older: number;
  empty: number;
  torn: number;
}

/**
 * Outcomes by durability level, for files that are replaced repeatedly and files that are written
 * once.
 */
type Table = ReadonlyMap<Durability, { readonly replaced: Found; readonly fresh: Found }>;

/**
 * For each file, the last version acknowledged before the cut began and the last version begun
 * before the cut ended.
 */
interface Journal {
  readonly done: ReadonlyMap<string, number>;
  readonly begun: ReadonlyMap<string, number>;
}

export const prove: ProveApart = async ({ short }) => {
  const runtimes = await groundRuntimes();
  const base = roomFor(8 * 2 ** 30, "prove-power-cuts-");
  try {
    return await cutAll(base, runtimes, short);
  } finally {
    sh(
      "cd /; for m in source copy outer; do if mountpoint -q $1/$m; then umount $1/$m; fi; done",
      base,
    );
    fs.rmSync(base, { recursive: true });
  }
};

async function cutAll(base: string, runtimes: Runtime[], short: boolean): Promise<Row[]> {
  for (const dir of ["outer", "source", "copy"]) fs.mkdirSync(path.join(base, dir));
  sh("truncate -s 24G $1/outer.img; mkfs.xfs -q -m reflink=1 $1/outer.img", base);
  sh("mount -o loop $1/outer.img $1/outer", base);

  const rows: Row[] = [];
  const lines: (string | number)[][] = [];
  const [batches, cuts] = short ? [1, 4] : [5, 13];
  for (const ground of short ? grounds.slice(0, 3) : grounds) {
    const [promised, after] = [new Tally(), new Tally()];
    const found = emptyTable();
    for (let batch = 0; batch < batches; batch++) {
      const writers: Writer[] = durabilities.flatMap((durability): Writer[] =>
        durability === "bare"
          ? [{ runtime: runtimes[batch % runtimes.length]!, durability }]
          : runtimes.map((runtime) => ({ runtime, durability }))
      );
      await cutPower(base, ground, writers, cuts, { promised, after, found });
    }
    for (const [durability, { replaced, fresh }] of found) {
      lines.push([
        ...[ground.name, durability, promised.trials],
        ...Object.values(replaced),
        ...Object.values(fresh),
      ]);
    }
    for (const line of lines.slice(-durabilities.length)) say(line.join(" "));
    const count = (durability: Durability, what: keyof Found) => {
      const { replaced, fresh } = found.get(durability)!;
      return replaced[what] + fresh[what];
    };
    const lost = (["bare", "none"] as const).map((durability) => {
      const [empty, torn] = [count(durability, "empty"), count(durability, "torn")];
      return `"${durability}" left ${empty} empty, ${torn} torn of ${count(durability, "files")}`;
    });
    const kept = count("consistent", "files") + count("durable", "files");
    if (ground.lawless) {
      const seen = promised.failures.splice(0);
      lost.push(`the rest as well in ${seen.length} cuts`);
    }
    rows.push(
      promised.row(
        ground.lawless
          ? `Power cuts on ${ground.name}: no promise can be kept`
          : `Power cuts on ${ground.name}: files are complete, "durable" ones current`,
        `${kept} files read; ${lost.join("; ")}`,
      ),
      after.row(
        `Work continues after a power cut on ${ground.name}`,
        "locks free, temporary files swept, files written again",
      ),
    );
  }
  rows.push(await breakAll(base, short));
  const kinds = ["files", "newest", "older", "empty", "torn"];
  console.error(markdown(
    ["file system", "durability", "cuts", "replaced", ...kinds.slice(1), "new", ...kinds.slice(1)],
    lines,
  ));
  return rows;
}

/** Breaks each guarantee on purpose, and checks that the power cuts reveal the fault. */
async function breakAll(base: string, short: boolean): Promise<Row> {
  const [deno] = await groundRuntimes();
  const tally = new Tally();
  const seen: string[] = [];
  for (const variant of variants) {
    await tally.try(variant, async () => {
      const [promised, after] = [new Tally(), new Tally()];
      const found = emptyTable();
      // A power cut reveals the fault only if it happens at the right moment.
      for (let batch = 0; batch < (short ? 3 : 6) && promised.failures.length === 0; batch++) {
        const writers: Writer[] = [{ runtime: deno!, durability: "durable", variant }];
        // A sync by another writer can put the name on disk before its content.
        if (variant !== "no sync of the directory") {
          writers.push({ runtime: deno!, durability: "consistent" });
        }
        await cutPower(base, grounds[1]!, writers, 8, { promised, after, found });
      }
      const caught = promised.failures.length;
      say(`${variant}: seen in ${caught} of ${promised.trials}: ${promised.failures[0]}`);
      if (caught === 0) throw new Error(`not seen in ${promised.trials} cuts`);
      seen.push(`${variant} (in ${caught} of ${promised.trials} cuts)`);
    });
  }
  return tally.row("Power cuts reveal missing and misplaced syncs", seen.join(", "));
}

/** Starts writers on a new file system, cuts its power repeatedly, and inspects each copy. */
async function cutPower(
  base: string,
  ground: Ground,
  writers: readonly Writer[],
  cuts: number,
  into: { promised: Tally; after: Tally; found: Table },
): Promise<void> {
  const image = path.join(base, "outer", "image");
  const [source, copy] = [path.join(base, "source"), path.join(base, "copy")];
  const journal = path.join(base, "journal");
  fs.writeFileSync(journal, "");
  sh(`truncate -s 1G $1; ${ground.make} $1`, image);
  sh(`mount -o loop${ground.options} $1 $2`, image, source);
  const taken: { file: string; from: number; to: number }[] = [];
  try {
    for (const { durability, runtime } of writers) {
      fs.mkdirSync(path.join(source, `${durability}-${runtime.name}`));
      fs.mkdirSync(path.join(source, `shared-${durability}`), { recursive: true });
    }
    sh("sync -f $1", source);
    const children = writers.map(({ durability, runtime, variant }) => {
      const args = [source, journal, durability, runtime.name];
      return new Child("writeUntilCut", variant === undefined ? args : [...args, variant], {
        ...runtime.options,
      });
    });
    for (const child of children) await child.says("writing");
    try {
      await sleep(500);
      for (let i = 0; i < cuts; i++) {
        await sleep(50 + Math.random() * 500);
        const file = path.join(base, "outer", `cut-${i}`);
        const from = fs.statSync(journal).size;
        sh("cp --reflink=always $1 $2", image, file);
        taken.push({ file, from, to: fs.statSync(journal).size });
      }
      const ended = children.findIndex(({ process }) => process.exitCode !== null);
      if (ended >= 0) throw new Error(`the writer ${writers[ended]!.durability} ended`);
    } finally {
      await Promise.all(children.map((child) => child.kill()));
    }
  } finally {
    sh("umount $1", source);
    fs.rmSync(image);
  }
  const notes = fs.readFileSync(journal);
  for (const { file, from, to } of taken) {
    const known: Journal = {
      done: lastOf(notes.subarray(0, from), "done"),
      begun: lastOf(notes.subarray(0, to), "begun"),
    };
    sh(`mount -o loop${ground.options} $1 $2`, file, copy);
    try {
      await into.promised.try(`cut of ${ground.name}`, () => readAll(copy, known, into.found));
      await into.after.try(`after a cut of ${ground.name}`, () => goOn(copy));
    } finally {
      sh("umount $1", copy);
      if (ground.name === "btrfs") sh("btrfs device scan --forget");
      fs.rmSync(file);
    }
  }
}

/**
 * Reads every file for which a write had begun. Throws if a file violates the guarantee of its
 * durability level.
 */
function readAll(copy: string, { done, begun }: Journal, found: Table): void {
  const bad: string[] = [];
  for (const [file, most] of begun) {
    const durability = /(bare|none|consistent|durable)/.exec(file)![0] as Durability;
    const of = found.get(durability)![/(new|dir)-/.test(file) ? "fresh" : "replaced"];
    const least = done.get(file) ?? 0;
    const strict = durability === "consistent" || durability === "durable";
    const newest = durability === "durable";
    of.files++;
    let bytes: Uint8Array;
    try {
      bytes = fs.readFileSync(path.join(copy, file));
    } catch (error) {
      if ((error as { code?: string }).code !== "ENOENT") throw error;
      if (least > 0) {
        of.older++;
        if (newest) bad.push(`${file} is missing`);
      } else of.newest++;
      continue;
    }
    if (bytes.byteLength === 0) {
      // For some files, every other version is empty.
      const first = newest ? Math.max(least, 1) : 1;
      const mayBe = file.endsWith("/zero") && most - first + (first % 2 === 0 ? 1 : 0) >= 1;
      if (mayBe) of.newest++;
      else {
        of.empty++;
        if (strict) bad.push(`${file} is empty`);
      }
      continue;
    }
    let number: number;
    try {
      number = file.endsWith(".json") ? jsonNumberOf(bytes) : versionOf(bytes);
    } catch (error) {
      of.torn++;
      if (strict) bad.push(`${file}: ${(error as Error).message}`);
      continue;
    }
    if (number < least) of.older++;
    else of.newest++;
    if (number > most) bad.push(`${file} has version ${number}, and ${most} was begun last`);
    if (newest && number < least) bad.push(`${file} has version ${number}, told ${least}`);
  }
  if (bad.length > 0) throw new Error(`${bad.length} files: ${bad.slice(0, 3).join("; ")}`);
}

/**
 * Checks that after the power cut, every lock is free, temporary files can be swept, and files can
 * be written.
 */
async function goOn(copy: string): Promise<void> {
  const dirs = [copy, ...allDirs(copy)];
  for (const dir of dirs) {
    const names = fs.readdirSync(dir);
    const temps = names.filter(isTempName);
    const swept = await sweepTempFiles(dir, { olderThan: 0 });
    if (swept.length !== temps.length) throw new Error(`${dir}: ${temps} left`);
    if (names.includes(LOCK_FILE_NAME)) {
      const lock = DirLock.tryAcquireSync(dir);
      if (lock === null) throw new Error(`the lock of ${dir} is not free`);
      lock.release();
    }
  }
  const file = path.join(copy, "next");
  atomicWriteSync(file, content(1, 10_000), { durability: "durable" });
  numberOf(fs.readFileSync(file));
}

function allDirs(dir: string): string[] {
  return fs.readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => [path.join(dir, name), ...allDirs(path.join(dir, name))]);
}

function jsonNumberOf(bytes: Uint8Array): number {
  const { n, padding } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  if (padding !== "p".repeat(n % 5_000)) throw new Error(`Torn: the padding of ${n}`);
  return n;
}

function emptyTable(): Table {
  const none = (): Found => ({ files: 0, newest: 0, older: 0, empty: 0, torn: 0 });
  return new Map(
    durabilities.map((durability) => [durability, { replaced: none(), fresh: none() }]),
  );
}
