/**
 * What the library costs beside the bare calls that it is made of, side by side in one run:
 *
 * ```sh
 * deno task bench [DIR]
 * ```
 *
 * Rounds of the contenders alternate, so that all of them meet the same machine; what counts are
 * the ratios of the medians, not the microseconds.
 *
 * @module
 */
import { atomicWrite, atomicWriteSync, DirLock } from "../mod.ts";

interface Contender {
  readonly name: string;
  run(): unknown;
}

interface Contest {
  readonly title: string;
  /** The first is what the others are compared with. */
  readonly contenders: readonly Contender[];
  readonly rounds: number;
}

const dir = await Deno.makeTempDir({ ...Deno.args[0] && { dir: Deno.args[0] } });
const bytes = crypto.getRandomValues(new Uint8Array(4096));
const [file, temp] = [`${dir}/file`, `${dir}/temp`];
await Deno.writeFile(file, bytes);
DirLock.acquireSync(dir).release();

const contests: Contest[] = [
  {
    title: "4 KiB, not synced",
    rounds: 2_000,
    contenders: [
      {
        name: "Deno.writeFile, Deno.rename",
        async run() {
          await Deno.writeFile(temp, bytes);
          await Deno.rename(temp, file);
        },
      },
      { name: 'atomicWrite, "none"', run: () => atomicWrite(file, bytes, { durability: "none" }) },
      {
        name: 'atomicWrite, "none", a mode given',
        run: () => atomicWrite(file, bytes, { durability: "none", mode: 0o644 }),
      },
    ],
  },
  {
    title: "4 KiB, not synced, at once",
    rounds: 5_000,
    contenders: [
      {
        name: "Deno.writeFileSync, Deno.renameSync",
        run() {
          Deno.writeFileSync(temp, bytes);
          Deno.renameSync(temp, file);
        },
      },
      {
        name: 'atomicWriteSync, "none"',
        run: () => atomicWriteSync(file, bytes, { durability: "none" }),
      },
    ],
  },
  {
    title: "4 KiB, synced",
    rounds: 200,
    contenders: [
      {
        name: "open, write, sync, rename",
        async run() {
          const opened = await Deno.open(temp, { write: true, create: true, truncate: true });
          await opened.write(bytes);
          await opened.sync();
          opened.close();
          await Deno.rename(temp, file);
        },
      },
      { name: 'atomicWrite, "consistent"', run: () => atomicWrite(file, bytes) },
      {
        name: 'atomicWrite, "durable"',
        run: () => atomicWrite(file, bytes, { durability: "durable" }),
      },
    ],
  },
  {
    title: "A free lock",
    rounds: 5_000,
    contenders: [
      {
        name: "openSync, tryLockSync, close",
        run() {
          const opened = Deno.openSync(`${dir}/.aperture.lock`, { read: true, write: true });
          opened.tryLockSync(true);
          opened.close();
        },
      },
      {
        name: "DirLock.tryAcquireSync, release",
        run: () => DirLock.tryAcquireSync(dir)!.release(),
      },
      { name: "DirLock.acquire, release", run: async () => (await DirLock.acquire(dir)).release() },
    ],
  },
];

for (const { title, contenders, rounds } of contests) {
  const times = contenders.map(() => [] as number[]);
  for (let round = 0; round < rounds; round++) {
    for (const [i, contender] of contenders.entries()) {
      const started = performance.now();
      const pending = contender.run();
      if (pending instanceof Promise) await pending;
      times[i]!.push(performance.now() - started);
    }
  }
  const medians = times.map((taken) => taken.sort((a, b) => a - b)[rounds >> 1]!);
  console.log(`\n${title}`);
  for (const [i, { name }] of contenders.entries()) {
    const ratio = (medians[i]! / medians[0]!).toFixed(2);
    console.log(`  ${name.padEnd(36)} ${ratio.padStart(5)}  ${(medians[i]! * 1000).toFixed(0)} µs`);
  }
}
await Deno.remove(dir, { recursive: true });
