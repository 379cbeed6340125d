import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import * as path from "node:path";
import { Readable } from "node:stream";
import type * as Library from "../mod.ts";
import { byHand } from "./by_hand.ts";
import { type Contender, interleave, type Length, type Measure } from "./contest.ts";
import { peer } from "./peers.ts";

/** What a contest is given. */
export interface Scene {
  readonly library: typeof Library;
  /** Where the library is, as a URL. */
  readonly url: string;
  /** An empty directory. */
  readonly dir: string;
  /** A few rounds, and less of what is much. */
  readonly quick: boolean;
  /** How many calls a turn has, where a call is short. */
  readonly calls: number;
}

/** A contest whose contenders run in turns in one process. */
export type Contest = (scene: Scene) => Promise<Record<string, Measure>>;

/** The name of what is measured. */
export const OURS = "ours";
/** The name of what it is compared with first. */
export const BY_HAND = "by hand";

/** All of them, by the name of their row. */
export const contests: Record<string, Contest> = {
  "async-none": (scene) => replaceAsync(scene, "none"),
  "async-consistent": (scene) => replaceAsync(scene, "consistent"),
  "sync-none": (scene) => replaceSync(scene, "none"),
  "sync-consistent": (scene) => replaceSync(scene, "consistent"),
  "lock-async": lockAsync,
  "lock-sync": lockSync,
  "one-path-100": onePath100,
  "one-path-1000": onePath1000,
  "paths-100": (scene) => paths(scene, 100, 4096),
  "paths-20MB": (scene) => paths(scene, scene.quick ? 10 : 100, 20_000_000),
  "chunks": chunks,
  "readable": readable,
  "writable": writable,
};

type Durability = "none" | "consistent";

/** Contenders without those that this runtime cannot load. */
function those(...contenders: (Contender | false | undefined)[]): Contender[] {
  return contenders.filter((contender) => contender !== false && contender !== undefined);
}

function length({ quick, calls }: Scene, rounds: number): Length {
  return {
    rounds: quick ? Math.ceil(rounds / 10) : rounds,
    seconds: quick ? 3 : 20,
    calls: rounds < 1_000 ? 1 : calls,
  };
}

/** A buffer, which all peers take. */
function content(size: number): Buffer {
  return Buffer.alloc(size, "0123456789abcdef");
}

/** A file with content. */
function existing(scene: Scene, name: string, size = 4096): string {
  const file = path.join(scene.dir, name);
  fs.writeFileSync(file, content(size));
  return file;
}

/** A call for each item, none of them awaited before the next. */
function together<T>(items: readonly T[], call: (item: T) => unknown): () => Promise<unknown> {
  return () => Promise.all(items.map(call));
}

/** 4 KiB, one call after another. */
function replaceAsync(
  scene: Scene,
  durability: Durability,
): Promise<Record<string, Measure>> {
  const { atomicWrite } = scene.library;
  const bytes = content(4096);
  const fsync = durability !== "none";
  const hand = byHand(scene.url);
  const writeFileAtomic = peer("write-file-atomic");
  const atomically = peer("atomically");
  const fast = peer("fast-write-atomic");
  const file = (name: string) => existing(scene, name);
  const [own, handed, wfa, at, fw] = ["own", "hand", "wfa", "at", "fw"].map(
    file,
  ) as string[];
  return interleave(
    those(
      { name: OURS, run: () => atomicWrite(own!, bytes, { durability }) },
      { name: BY_HAND, run: () => hand.replace(handed!, bytes, fsync) },
      writeFileAtomic && {
        name: "write-file-atomic",
        run: () => writeFileAtomic(wfa!, bytes, { fsync }),
      },
      atomically &&
        {
          name: "atomically",
          run: () => atomically.writeFile(at!, bytes, { fsync }),
        },
      fast &&
        { name: "fast-write-atomic", run: () => fast.promise(fw!, bytes) },
    ),
    length(scene, 4_000),
  );
}

function replaceSync(
  scene: Scene,
  durability: Durability,
): Promise<Record<string, Measure>> {
  const { atomicWriteSync } = scene.library;
  const bytes = content(4096);
  const fsync = durability !== "none";
  const hand = byHand(scene.url);
  const writeFileAtomic = peer("write-file-atomic");
  const atomically = peer("atomically");
  const file = (name: string) => existing(scene, name);
  const [own, handed, wfa, at] = ["own", "hand", "wfa", "at"].map(
    file,
  ) as string[];
  return interleave(
    those(
      { name: OURS, run: () => atomicWriteSync(own!, bytes, { durability }) },
      { name: BY_HAND, run: () => hand.replaceSync(handed!, bytes, fsync) },
      writeFileAtomic && {
        name: "write-file-atomic",
        run: () => writeFileAtomic.sync(wfa!, bytes, { fsync }),
      },
      atomically && {
        name: "atomically",
        run: () => atomically.writeFileSync(at!, bytes, { fsync }),
      },
    ),
    length(scene, 10_000),
  );
}

/** A lock that is free. */
function lockAsync(scene: Scene): Promise<Record<string, Measure>> {
  const { DirLock, LOCK_FILE_NAME } = scene.library;
  const hand = byHand(scene.url);
  const proper = peer("proper-lockfile");
  DirLock.acquireSync(scene.dir).release();
  return interleave(
    those(
      {
        name: OURS,
        run: async () => (await DirLock.acquire(scene.dir)).release(),
      },
      {
        name: BY_HAND,
        run: () => hand.lock(path.join(scene.dir, LOCK_FILE_NAME)),
      },
      proper && {
        name: "proper-lockfile",
        run: async () => await (await proper.lock(scene.dir))(),
      },
    ),
    length(scene, 5_000),
  );
}

function lockSync(scene: Scene): Promise<Record<string, Measure>> {
  const { DirLock, LOCK_FILE_NAME } = scene.library;
  const hand = byHand(scene.url);
  const proper = peer("proper-lockfile");
  const lockfile = peer("lockfile");
  const other = path.join(scene.dir, "lockfile");
  DirLock.acquireSync(scene.dir).release();
  return interleave(
    those(
      { name: OURS, run: () => DirLock.acquireSync(scene.dir).release() },
      {
        name: BY_HAND,
        run: () => hand.lock(path.join(scene.dir, LOCK_FILE_NAME)),
      },
      proper &&
        { name: "proper-lockfile", run: () => proper.lockSync(scene.dir)() },
      lockfile && {
        name: "lockfile",
        run: () => {
          lockfile.lockSync(other);
          lockfile.unlockSync(other);
        },
      },
    ),
    length(scene, 10_000),
  );
}

/** 100 calls on one path, none of them awaited before the next. */
function onePath100(scene: Scene): Promise<Record<string, Measure>> {
  const { atomicWrite } = scene.library;
  const versions = Array.from({ length: 100 }, () => content(4096));
  const writeFileAtomic = peer("write-file-atomic");
  const [own, wfa] = [existing(scene, "own"), existing(scene, "wfa")];
  return interleave(
    those(
      {
        name: OURS,
        run: together(versions, (bytes) => atomicWrite(own, bytes, { durability: "none" })),
      },
      writeFileAtomic && {
        name: "write-file-atomic",
        run: together(versions, (bytes) => writeFileAtomic(wfa, bytes, { fsync: false })),
      },
    ),
    length(scene, 200),
  );
}

/** 1,000 calls on one path, against what is made for that. */
function onePath1000(scene: Scene): Promise<Record<string, Measure>> {
  const { atomicWrite } = scene.library;
  const versions = Array.from({ length: 1_000 }, () => content(4096));
  const steno = peer("steno");
  const own = existing(scene, "own");
  const writer = steno && new steno.Writer(existing(scene, "steno"));
  return interleave(
    those(
      {
        name: OURS,
        run: together(versions, (bytes) => atomicWrite(own, bytes, { durability: "none" })),
      },
      writer && {
        name: "steno",
        run: together(versions, (bytes) => writer.write(bytes)),
      },
    ),
    length(scene, 200),
  );
}

/** A file each, all at once. */
function paths(
  scene: Scene,
  count: number,
  size: number,
): Promise<Record<string, Measure>> {
  const { atomicWrite } = scene.library;
  const bytes = content(size);
  const writeFileAtomic = peer("write-file-atomic");
  const files = Array.from(
    { length: count },
    (_, i) => path.join(scene.dir, String(i)),
  );
  return interleave(
    those(
      {
        name: OURS,
        run: together(files, (file) => atomicWrite(file, bytes, { durability: "none" })),
      },
      writeFileAtomic && {
        name: "write-file-atomic",
        run: together(files, (file) => writeFileAtomic(file, bytes, { fsync: false })),
      },
    ),
    length(scene, size > 1_000_000 ? 10 : 300),
  );
}

/** A million chunks of one byte, or as many as there is time for, scaled. */
const CHUNKS = 1_000_000;
const BYTE = new Uint8Array(1);

async function* bytewise(count: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) yield BYTE;
}

async function scaled(
  scene: Scene,
  contenders: (count: number) => Contender[],
): Promise<Record<string, Measure>> {
  const part = scene.quick ? 50 : 1;
  const measures = await interleave(contenders(CHUNKS / part), {
    rounds: 3,
    seconds: 60,
    calls: 1,
  });
  return Object.fromEntries(
    Object.entries(measures).map((
      [name, { lower, median, upper, samples }],
    ) => [
      name,
      {
        lower: lower * part,
        median: median * part,
        upper: upper * part,
        samples,
      },
    ]),
  );
}

function chunks(scene: Scene): Promise<Record<string, Measure>> {
  const file = path.join(scene.dir, "own");
  return scaled(scene, (count) => [
    {
      name: OURS,
      run: () =>
        scene.library.atomicWrite(file, bytewise(count), {
          durability: "none",
        }),
    },
    {
      name: "the iterable alone",
      run: async () => {
        for await (const _ of bytewise(count));
      },
    },
  ]);
}

function readable(scene: Scene): Promise<Record<string, Measure>> {
  const file = path.join(scene.dir, "own");
  const source = (count: number) => {
    let left = count;
    return new Readable({
      read() {
        this.push(left-- > 0 ? BYTE : null);
      },
    });
  };
  return scaled(scene, (count) => [
    {
      name: OURS,
      run: () => scene.library.atomicWrite(file, source(count), { durability: "none" }),
    },
    {
      name: "the bare stream",
      run: async () => {
        for await (const _ of source(count));
      },
    },
  ]);
}

function writable(scene: Scene): Promise<Record<string, Measure>> {
  const file = path.join(scene.dir, "own");
  const fill = async (stream: WritableStream<Uint8Array>, count: number) => {
    const writer = stream.getWriter();
    for (let i = 0; i < count; i++) await writer.write(BYTE);
    await writer.close();
  };
  return scaled(scene, (count) => [
    {
      name: OURS,
      run: async () => {
        const draft = await scene.library.AtomicFile.open(file, {
          durability: "none",
        });
        await fill(draft.writable, count);
        await draft.commit();
      },
    },
    {
      name: "the bare stream",
      run: () => fill(new WritableStream({ write: async () => {} }), count),
    },
  ]);
}
