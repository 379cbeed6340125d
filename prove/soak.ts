import * as fs from "node:fs";
import * as path from "node:path";
import { DirLock, isTempName, sweepTempFiles } from "../mod.ts";
import { Child } from "../tests/support/child.ts";
import { numberOf } from "../tests/support/content.ts";
import {
  apart,
  groundRuntimes,
  lastOf,
  type ProveApart,
  roomFor,
  say,
  sh,
  sleep,
} from "./ground.ts";
import { type Part, root, type Row, same, Tally } from "./part.ts";

/** Exercises all features concurrently for several minutes on a disk that is sometimes full. */
export const proveSoak: Part = apart("soak", "A soak of everything", {
  commands: { "mkfs.ext4": "e2fsprogs" },
  devices: ["/dev/loop-control"],
});

const built = `${root}npm_test/esm/tests/support/ground_worker.js`;

/** The resource usage that a process reports. */
interface Usage {
  readonly descriptors: number;
  readonly threads: number;
  readonly objects: number;
  readonly memory: number;
}

export const prove: ProveApart = async ({ soak }) => {
  const runtimes = await groundRuntimes();
  const base = roomFor(2 ** 29, "prove-soak-");
  const [disk, locks] = [path.join(base, "disk"), path.join(base, "locks")];
  const journal = path.join(base, "journal");
  for (const dir of [disk, locks]) fs.mkdirSync(dir);
  fs.writeFileSync(journal, "");
  sh("truncate -s 128M $1/image; mkfs.ext4 -q $1/image; mount -o loop $1/image $2", base, disk);
  const [whole, quiet, level] = [new Tally(), new Tally(), new Tally()];
  try {
    const end = performance.now() + (soak || 10) * 60_000;
    const over = () => performance.now() > end;
    const start = (i: number, name: string, more: string[] = []) => {
      const [command, ...rest] = runtimes[i % runtimes.length]!.options.worker!;
      // Deno 2.9.6 panics when it cannot open the source map of a TypeScript file.
      const args = fs.existsSync(built) ? [...rest.slice(0, -1), built] : rest;
      const flags = command!.endsWith("node") ? more : more.map((flag) => `--v8-flags=${flag}`);
      // Deno's flags follow "run".
      const worker = command!.endsWith("node")
        ? [command!, ...flags, ...args]
        : [command!, args[0]!, ...flags, ...args.slice(1)];
      return new Child("soak", [disk, journal, locks, name], {
        worker,
        shell: "ulimit -n 128",
      });
    };
    /**
     * Returns the values in a process's next line of output. Failures that the process reports
     * before that line are recorded.
     */
    const hear = async (child: Child, about: string): Promise<string[]> => {
      for (;;) {
        const line = await child.line();
        if (!line.startsWith("bad ")) {
          const [what, ...rest] = line.split(" ");
          same(what, about);
          return rest;
        }
        quiet.failures.push(line);
      }
    };
    const usage = async (child: Child): Promise<Usage> => {
      child.tell("usage");
      const [descriptors, threads, objects, memory] = (await hear(child, "usage")).map(Number);
      return {
        descriptors: descriptors!,
        threads: threads!,
        objects: objects!,
        memory: memory!,
      };
    };

    const residents = runtimes.map(({ name }, i) => start(i, name, ["--expose-gc"]));
    let [kills, full] = [0, 0];
    const growth: string[] = [];
    await Promise.all([
      ...residents.map(async (child, i) => {
        const { name } = runtimes[i]!;
        await level.try(name, async () => {
          await hear(child, "soaking");
          await sleep(Math.min(60_000, (end - performance.now()) / 3));
          const before = await usage(child);
          while (!over()) await sleep(100);
          const after = await usage(child);
          child.tell("stop");
          const [done, refused] = (await hear(child, "done")).map(Number);
          quiet.trials += done! + refused!;
          same(await child.exit(), 0);
          growth.push(`${name} ${JSON.stringify(before)} to ${JSON.stringify(after)}`);
          say(`${name}: ${done} done, ${refused} refused; ${growth.at(-1)}`);
          for (const [what, most] of [["descriptors", 0], ["threads", 2]] as const) {
            if (after[what] > before[what] + most) {
              throw new Error(`${after[what]} ${what}, before ${before[what]}`);
            }
          }
          if (after.objects > before.objects + 2_048) throw new Error(growth.at(-1));
          if (after.memory > before.memory + 64) throw new Error(growth.at(-1));
        });
      }),
      ...[0, 1].map(async (slot) => {
        for (let i = slot; !over(); i++) {
          const child = start(i, `victim-${slot}`);
          await hear(child, "soaking");
          await sleep(200 + Math.random() * 3_000);
          child.process.kill("SIGKILL");
          // Read the failures that the process reported before it was killed.
          await hear(child, "nothing").catch(() => {});
          await child.exit();
          kills++;
        }
      }),
      (async () => {
        const filler = path.join(disk, "filler");
        while (!over()) {
          await sleep(1_000 + Math.random() * 4_000);
          fill(filler);
          full++;
          await sleep(500 + Math.random() * 1_500);
          fs.rmSync(filler, { force: true });
        }
      })(),
    ]);

    const notes = fs.readFileSync(journal);
    const [done, begun] = [lastOf(notes, "done"), lastOf(notes, "begun")];
    for (const [file, most] of begun) {
      await whole.try(file, () => {
        const least = done.get(file) ?? 0;
        if (least === 0 && !fs.existsSync(path.join(disk, file))) return;
        const found = numberOf(fs.readFileSync(path.join(disk, file)));
        if (found < least || found > most) throw new Error(`${found}, told ${least} to ${most}`);
      });
    }
    await whole.try("no update is lost or done twice", () => {
      const updates = notes.toString().split("\n").filter((line) => line.startsWith("done count "));
      const found = numberOf(fs.readFileSync(path.join(disk, "count")));
      if (found < updates.length || found > updates.length + kills) {
        throw new Error(`${found} counted, ${updates.length} told, ${kills} kills`);
      }
      same(new Set(updates).size, updates.length);
      whole.trials += updates.length;
    });
    await whole.try("nothing is left", async () => {
      await sweepTempFiles(disk, { olderThan: 0 });
      same(fs.readdirSync(disk).filter(isTempName), []);
      for (const dir of [disk, locks]) (await DirLock.acquire(dir, { timeout: 0 })).release();
    });
    const rows: Row[] = [
      quiet.row(
        `${soak || 10} minutes of mixed load: no torn files, only injected errors`,
        `${kills} kills, disk full ${full} times, descriptors exhausted, clock set back`,
      ),
      whole.row(
        "After the soak test, every file is complete and current",
        "files and update counts",
      ),
      level.row(
        "After the soak test, processes use no more resources than before",
        "descriptors, threads, memory",
      ),
    ];
    return rows;
  } finally {
    sh("for i in 1 2 3 4 5; do umount $1 && break; sleep 1; done", disk);
    fs.rmSync(base, { recursive: true });
  }
};

/** Writes to a file until the disk is full. */
function fill(file: string): void {
  const descriptor = fs.openSync(file, "w");
  try {
    for (const size of [2 ** 20, 2 ** 12]) {
      try {
        const bytes = new Uint8Array(size);
        for (;;) if (fs.writeSync(descriptor, bytes) < size) break;
      } catch (error) {
        if ((error as { code?: string }).code !== "ENOSPC") throw error;
      }
    }
  } finally {
    fs.closeSync(descriptor);
  }
}
