import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import * as path from "node:path";
import { Readable } from "node:stream";
import type * as JsonLibrary from "../json.ts";
import type * as Library from "../mod.ts";
import { byHand } from "./by_hand.ts";
import { type Contender, interleave, type Length, type Measure } from "./contest.ts";
import { peer } from "./peers.ts";

/** The input to a contest. */
export interface Scene {
  readonly library: typeof Library;
  /** The URL of the library. */
  readonly url: string;
  /** An empty directory. */
  readonly dir: string;
  /** Whether to run fewer rounds with smaller sizes. */
  readonly quick: boolean;
  /** The number of calls per turn, for short calls. */
  readonly calls: number;
}

/** A contest whose contenders take turns in one process. */
export type Contest = (scene: Scene) => Promise<Record<string, Measure>>;

/** The name of the library in the table. */
export const OURS = "ours";
/** The name of the handwritten equivalent. */
export const BY_HAND = "by hand";

/** All contests, keyed by row name. */
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
  "json-7MB": json7MB,
  "json-1KB": json1KB,
  "json-46MB-unchanged": jsonUnchanged,
  "parents": parents,
  "chunks": chunks,
  "readable": readable,
  "writable": writable,
};

type Durability = "none" | "consistent";

/** Returns the contenders that this runtime can load. */
function those(...contenders: (Contender | false | undefined)[]): Contender[] {
  return contenders.filter((contender) => contender !== false && contender !== undefined);
}

function length({ quick, calls }: Scene, rounds: number): Length {
  return {
    rounds: quick ? Math.ceil(rounds / 10) : rounds,
    seconds: quick ? 3 : 8,
    calls: rounds < 1_000 ? 1 : calls,
  };
}

/** A `Buffer`, which all peers accept. */
function content(size: number): Buffer {
  return Buffer.alloc(size, "0123456789abcdef");
}

/** A file that already has content. */
function existing(scene: Scene, name: string, size = 4096): string {
  const file = path.join(scene.dir, name);
  fs.writeFileSync(file, content(size));
  return file;
}

/** Runs `call` for all items concurrently. */
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

/** An uncontended lock. */
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

/** 100 concurrent calls for the same path. */
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

/** 1,000 concurrent calls for the same path, the case that steno is designed for. */
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

/** Concurrent calls, each for a different path. */
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

/** The JSON entry point of the library under test. */
export function jsonOf(url: string): Promise<typeof JsonLibrary> {
  return import(url.replace(/mod(\.[jt]s)$/, "json$1"));
}

/** An object whose JSON, indented by two spaces, is about this many bytes long. */
function record(bytes: number): { changes: number; users: unknown[] } {
  const user = (id: number) => ({
    id,
    name: `User ${id}`,
    email: `user${id}@example.com`,
    scores: [id % 100, id % 7, 1.5],
    active: id % 2 === 0,
  });
  const size = JSON.stringify([user(1)], undefined, 2).length;
  return { changes: 0, users: Array.from({ length: Math.floor(bytes / size) }, (_, i) => user(i)) };
}

interface Changed {
  changes: number;
}

function change(value: Changed): Changed {
  value.changes++;
  return value;
}

/** An update of a 7 MB file, compared with the same calls written by hand. */
async function json7MB(scene: Scene): Promise<Record<string, Measure>> {
  const { updateJson } = await jsonOf(scene.url);
  const hand = byHand(scene.url);
  const text = `${JSON.stringify(record(7_000_000), undefined, 2)}\n`;
  const [own, other] = ["own", "hand"].map((name) => path.join(scene.dir, name));
  for (const file of [own!, other!]) fs.writeFileSync(file, text);
  return await interleave([
    {
      name: OURS,
      run: () => updateJson<Changed>(own!, (value) => change(value!), { durability: "none" }),
    },
    {
      name: BY_HAND,
      run: async () => {
        const value = change(JSON.parse(await fs.promises.readFile(other!, "utf8")));
        const bytes = Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`);
        await hand.replace(other!, bytes, false);
      },
    },
  ], length(scene, 40));
}

/**
 * A synchronous update of a 1 KB file, compared with handwritten code that acquires the same lock.
 */
async function json1KB(scene: Scene): Promise<Record<string, Measure>> {
  const { updateJsonSync } = await jsonOf(scene.url);
  const { DirLock, LOCK_FILE_NAME } = scene.library;
  const hand = byHand(scene.url);
  const text = `${JSON.stringify(record(1_000), undefined, 2)}\n`;
  const [own, other] = ["own", "hand"].map((name) => path.join(scene.dir, name));
  for (const file of [own!, other!]) fs.writeFileSync(file, text);
  DirLock.acquireSync(scene.dir).release();
  return await interleave([
    {
      name: OURS,
      run: () => updateJsonSync<Changed>(own!, (value) => change(value!), { durability: "none" }),
    },
    {
      name: BY_HAND,
      run: () =>
        hand.withLock(path.join(scene.dir, LOCK_FILE_NAME), () => {
          const value = change(JSON.parse(fs.readFileSync(other!, "utf8")));
          const bytes = Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`);
          hand.replaceSync(other!, bytes, false);
        }),
    },
  ], length(scene, 4_000));
}

/** A no-op update of a 46 MB file. */
async function jsonUnchanged(scene: Scene): Promise<Record<string, Measure>> {
  const { updateJson } = await jsonOf(scene.url);
  const file = path.join(scene.dir, "file");
  fs.writeFileSync(file, `${JSON.stringify(record(46_000_000), undefined, 2)}\n`);
  return await interleave([
    { name: OURS, run: () => updateJson(file, (value) => value) },
    { name: "read, parse", run: async () => JSON.parse(await fs.promises.readFile(file, "utf8")) },
  ], length(scene, 10));
}

/** 2,000 files in 1,024 new directories. */
function parents(scene: Scene): Promise<Record<string, Measure>> {
  const { atomicWrite } = scene.library;
  const bytes = content(100);
  const options = { durability: "none", parents: true } as const;
  const files = Array.from({ length: 2_000 }, (_, i) => `${i % 32}/${(i >> 5) % 32}/${i}`);
  let round = 0;
  const all = (write: (file: string) => Promise<unknown>) => async () => {
    const dir = path.join(scene.dir, String(round++));
    for (const file of files) await write(path.join(dir, file));
  };
  return interleave([
    { name: OURS, run: all((file) => atomicWrite(file, bytes, options)) },
    {
      name: "mkdir, then a write",
      run: all(async (file) => {
        await fs.promises.mkdir(path.dirname(file), { recursive: true });
        await atomicWrite(file, bytes, { durability: "none" });
      }),
    },
  ], length(scene, 30));
}

/** A million one-byte chunks, or as many as time allows; the result is scaled up to a million. */
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
