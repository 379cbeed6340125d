import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import * as path from "node:path";
import { measureOf } from "./contest.ts";
import { OURS, type Scene } from "./contests.ts";
import { peer } from "./peers.ts";

/** A measurement of how the duration of a call grows with the amount of work. */
export interface Curve {
  /** The values on the x axis, smallest first. */
  readonly points: readonly number[];
  /** The calls to time. */
  readonly contenders: Record<string, (point: number) => Promise<void>>;
  /** Prepares the measurement of a point. */
  readonly prepare?: (point: number) => void;
  /** Cleans up after each call. */
  readonly clear?: () => void;
}

/** The measured points of a curve, by contender. */
export interface Grown {
  /** The median at each point that was measured. */
  readonly lines: Record<string, [point: number, milliseconds: number][]>;
  /** Why a curve ends early. */
  readonly ends: Record<string, string>;
}

/** The curves that a single process can measure, by name. */
export const curves: Record<string, (scene: Scene) => Promise<Grown>> = {
  "curve-size": (scene) => grow(scene, size(scene)),
  "curve-parallel": (scene) => grow(scene, parallel(scene)),
  "curve-waiters": (scene) => grow(scene, waiters(scene)),
  "curve-files": (scene) => grow(scene, files(scene)),
};

/**
 * Lets the contenders take turns at each point. A contender that fails or takes too long is dropped
 * from the remaining points.
 */
async function grow(scene: Scene, curve: Curve): Promise<Grown> {
  const longest = scene.quick ? 500 : 5_000;
  const [rounds, patience] = scene.quick ? [10, 300] : [200, 2_000];
  const lines: Grown["lines"] = {};
  const ends: Grown["ends"] = {};
  for (const name of Object.keys(curve.contenders)) lines[name] = [];
  await warmUp(curve);
  for (const point of curve.points) {
    curve.prepare?.(point);
    const times: Record<string, number[]> = {};
    const end = performance.now() + patience * Object.keys(lines).length;
    for (let round = 0; round < rounds && (round < 1 || performance.now() < end); round++) {
      for (const [name, run] of Object.entries(curve.contenders)) {
        if (ends[name] !== undefined) continue;
        const started = performance.now();
        try {
          await run(point);
          (times[name] ??= []).push(performance.now() - started);
        } catch (error) {
          const { code, message } = error as Error & { code?: string };
          ends[name] = `${code ?? message} at ${point.toLocaleString("en")}`;
        }
        curve.clear?.();
      }
    }
    for (const [name, taken] of Object.entries(times)) {
      if (ends[name] !== undefined) continue;
      const { median } = measureOf(taken);
      lines[name]!.push([point, median]);
      if (median > longest && point !== curve.points.at(-1)) {
        ends[name] = `over ${longest / 1_000} s at ${point.toLocaleString("en")}`;
      }
    }
  }
  return { lines, ends };
}

/** Warms up the code; otherwise the first point would include compilation time. */
async function warmUp(curve: Curve): Promise<void> {
  const first = curve.points[0]!;
  curve.prepare?.(first);
  for (let round = 0; round < 300; round++) {
    for (const run of Object.values(curve.contenders)) await run(first);
  }
}

function writers(scene: Scene): Record<string, (file: string, bytes: Buffer) => Promise<void>> {
  const writeFileAtomic = peer("write-file-atomic")!;
  const atomically = peer("atomically")!;
  return {
    [OURS]: (file, bytes) => scene.library.atomicWrite(file, bytes, { durability: "none" }),
    "write-file-atomic": (file, bytes) => writeFileAtomic(file, bytes, { fsync: false }),
    "atomically": (file, bytes) => atomically.writeFile(file, bytes, { fsync: false }),
  };
}

function size(scene: Scene): Curve {
  const most = scene.quick ? 2 ** 25 : 2 ** 30;
  const bytes = Buffer.alloc(most, "0123456789abcdef");
  const file = path.join(scene.dir, "file");
  return {
    points: [0, 5, 10, 12, 15, 18, 20, 22, 25, 28, 30].map((power) => 2 ** power)
      .filter((point) => point <= most),
    contenders: Object.fromEntries(
      Object.entries(writers(scene)).map(([name, write]) => [
        name,
        (point: number) => write(file, bytes.subarray(0, point)),
      ]),
    ),
  };
}

function parallel(scene: Scene): Curve {
  const bytes = Buffer.alloc(100);
  const dir = path.join(scene.dir, "files");
  fs.mkdirSync(dir);
  return {
    points: [1, 10, 100, 1_000, 4_000, 10_000, 20_000, 40_000],
    contenders: Object.fromEntries(
      Object.entries(writers(scene)).map(([name, write]) => [name, async (point: number) => {
        const calls = Array.from({ length: point }, (_, i) => write(path.join(dir, `${i}`), bytes));
        const results = await Promise.allSettled(calls);
        const failed = results.find((result) => result.status === "rejected");
        if (failed !== undefined) throw failed.reason;
      }]),
    ),
    clear() {
      fs.rmSync(dir, { recursive: true });
      fs.mkdirSync(dir);
    },
  };
}

function waiters(scene: Scene): Curve {
  const { DirLock } = scene.library;
  const proper = peer("proper-lockfile")!;
  const lockfile = peer("lockfile")!;
  const many = async (count: number, turn: () => Promise<void>) => {
    await Promise.all(Array.from({ length: count }, turn));
  };
  const retries = { forever: true, minTimeout: 1, maxTimeout: 5 };
  const other = path.join(scene.dir, "lockfile");
  return {
    points: [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000],
    contenders: {
      [OURS]: (point) =>
        many(point, async () => {
          (await DirLock.acquire(scene.dir)).release();
        }),
      "proper-lockfile": (point) =>
        many(point, async () => {
          await (await proper.lock(scene.dir, { retries }))();
        }),
      "lockfile": (point) =>
        many(point, () =>
          new Promise((resolve, reject) => {
            lockfile.lock(other, { wait: 600_000, pollPeriod: 1 }, (error) => {
              if (error) reject(error);
              else lockfile.unlock(other, (error) => error ? reject(error) : resolve());
            });
          })),
    },
  };
}

function files(scene: Scene): Curve {
  const bytes = Buffer.alloc(4096, "0123456789abcdef");
  const file = path.join(scene.dir, "file");
  let made = 0;
  return {
    points: [1, 10, 100, 1_000, 10_000, 100_000],
    prepare(point) {
      for (; made < point; made++) fs.writeFileSync(path.join(scene.dir, `other-${made}`), "");
    },
    contenders: Object.fromEntries(
      Object.entries(writers(scene)).map(([name, write]) => [name, () => write(file, bytes)]),
    ),
  };
}
