/**
 * Random programs that make calls for the same path, and a sequential model of them. The model
 * checks whether running the calls one at a time in some allowed order could produce each call's
 * result.
 */
import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import * as path from "node:path";
import { AtomicFile, atomicUpdate, atomicWrite, atomicWriteSync } from "../../mod.ts";
import type {
  AtomicData,
  AtomicDataSync,
  AtomicWriteOptions,
  AtomicWriteSyncOptions,
} from "../../mod.ts";
import { inTempDir, openDescriptors } from "./dir.ts";
import { intercepted, systemError } from "./runtime.ts";
import { bytesOf } from "./temps.ts";
import { isWindows, isWine } from "./test.ts";

/** The calls that make up a program: the library's own, or deliberately broken ones. */
export interface Calls {
  write(path: string, data: AtomicData, options: AtomicWriteOptions): Promise<void>;
  writeSync(path: string, data: AtomicDataSync, options: AtomicWriteSyncOptions): void;
  /** Opens an AtomicFile, writes to it, and commits it once `told` resolves. */
  draft(
    path: string,
    data: string,
    options: AtomicWriteOptions,
    told: Promise<void>,
    committing: () => void,
  ): Promise<void>;
  update(
    path: string,
    fn: (bytes: Uint8Array | null) => Promise<string>,
    options: AtomicWriteOptions,
  ): Promise<void>;
}

type Kind = "write" | "sync" | "stream" | "draft" | "update";
type Failure = "write" | "rename" | undefined;

/** One step of a program. */
export type Step =
  | {
    readonly do: Kind;
    readonly id: number;
    readonly size: number;
    readonly spelling: 0 | 1 | 2;
    readonly options: AtomicWriteOptions;
    readonly failure: Failure;
  }
  /** Waits for `turns` turns of the event loop. */
  | { readonly do: "pass"; readonly turns: number }
  /** Waits for all calls, then optionally puts something else at the path. */
  | { readonly do: "wait"; readonly put: Put };

type CallStep = Extract<Step, { readonly id: number }>;

type Put = "nothing" | "file" | "link" | "dangling" | undefined;

/** A program: what the path contains initially, and the steps. */
export interface Program {
  readonly start: Put;
  readonly steps: readonly Step[];
}

/** Returns a generator of pseudo-random numbers from 0 to 1 (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns the program for a seed. */
export function programOf(seed: number, links: boolean): Program {
  const next = random(seed);
  const one = <T>(...choices: T[]): T => choices[Math.floor(next() * choices.length)]!;
  const puts: Put[] = links ? ["nothing", "file", "link", "dangling"] : ["nothing", "file"];
  const length = 3 + Math.floor(next() * 10);
  // Some programs use the same options for all calls; others vary them.
  const alike = next() < 0.4;
  // An update writes to the file that it has read even if the link is replaced in the meantime, so
  // no program contains both updates and calls that replace the link.
  const replaces = next() < 0.5;
  const steps: Step[] = [];
  let flexible = 0;
  for (let id = 1; steps.length < length; id++) {
    const chance = next();
    if (chance < 0.12) {
      steps.push({ do: "pass", turns: Math.floor(next() * 6) });
      continue;
    }
    if (chance < 0.2) {
      steps.push({ do: "wait", put: one(undefined, undefined, ...puts) });
      flexible = 0;
      continue;
    }
    let kind: Kind = one("write", "write", "write", "write", "sync", "stream", "draft", "update");
    // To bound the search for an order, limit the number of calls between two waits that can be
    // reordered.
    if (kind !== "write" && kind !== "sync" && ++flexible > 3) kind = "write";
    // Under Wine, a synchronous call cannot replace a file that an update in the same thread is reading.
    if (kind === "update" && (replaces || isWine)) kind = "write";
    const mode = alike ? undefined : one(undefined, undefined, 0o600, 0o640);
    const options: AtomicWriteOptions = {
      durability: alike ? "none" : one("none", "none", "consistent"),
      ...mode !== undefined && { mode },
      ...!alike && next() < 0.25 && kind !== "update" && { createNew: true },
      ...!alike && replaces && next() < 0.25 && { symlinks: "replace" as const },
    };
    steps.push({
      do: kind,
      id,
      size: one(0, 0, 10, 1_000, 100_000),
      spelling: alike ? 0 : one(0, 0, 1, 2),
      options,
      failure: next() < 0.15 ? one("write", "rename") : undefined,
    });
  }
  return { start: one(...puts), steps };
}

/** The outcome of a call. */
interface Done {
  readonly step: CallStep;
  readonly called: number;
  /**
   * When the call's content was complete: its stream ended, its draft was committed, or its
   * function returned.
   */
  complete?: number;
  settled: number;
  outcome: "ok" | "EEXIST" | "injected" | "pending" | string;
  /**
   * For an update, the number that it read: 0 if the file was put there by a step, null if there
   * was no file.
   */
  read?: number | null;
}

/** What is at the path, and at the target if the path is a link. */
interface World {
  /** Undefined if nothing is there; "link" for a link to the target. */
  readonly entry: Content | "link" | undefined;
  readonly target: Content | undefined;
}

interface Content {
  readonly id: number;
  readonly mode: number;
}

const INJECTED = "injected";

/** Runs a program with `calls`; throws if no allowed order explains the results. */
export async function runProgram(dir: string, program: Program, calls: Calls): Promise<void> {
  const file = path.join(dir, "file");
  const target = path.join(dir, "target");
  fs.mkdirSync(path.join(dir, "sub"), { recursive: true });
  const spellings = [file, `${dir}/./file`, `${dir}/sub/../file`];
  fs.writeFileSync(path.join(dir, "probe"), "");
  const plainMode = fs.statSync(path.join(dir, "probe")).mode & 0o777;
  fs.rmSync(path.join(dir, "probe"));

  const put = (what: Put) => {
    fs.rmSync(file, { force: true });
    fs.rmSync(target, { force: true });
    if (what === "file") fs.writeFileSync(file, "0 ");
    if (what === "link") fs.writeFileSync(target, "0 ");
    if (what === "link" || what === "dangling") fs.symlinkSync("target", file);
  };
  const look = (): World => {
    const entry = fs.lstatSync(file, { throwIfNoEntry: false });
    return {
      entry: entry?.isSymbolicLink() ? "link" : contentOf(file, entry),
      target: contentOf(target, fs.lstatSync(target, { throwIfNoEntry: false })),
    };
  };
  const failures = new Map<number, Failure>();
  let clock = 0;
  let done: Done[] = [];
  let running: Promise<unknown>[] = [];
  put(program.start);
  let world = look();

  const settle = async () => {
    await Promise.all(running);
    const expected = ["file", "target", "sub", ".aperture.lock"];
    const left = () => fs.readdirSync(dir).filter((name) => !expected.includes(name));
    // A call that was taken over may settle before the work that it had begun is finished.
    const patience = performance.now() + 2_000;
    while (left().length + openDescriptors(dir) > 0 && performance.now() < patience) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    if (left().length > 0) throw new Error(`Left behind: ${left()}`);
    if (openDescriptors(dir) > 0) throw new Error(`${openDescriptors(dir)} descriptors are open`);
    const now = look();
    check(done, world, now, plainMode);
    [done, running, world] = [[], [], now];
  };

  const begin = (step: CallStep): Done => {
    failures.set(step.id, step.failure);
    const call: Done = { step, called: ++clock, settled: Infinity, outcome: "pending" };
    done.push(call);
    return call;
  };
  const end = (call: Done, error?: unknown) => {
    call.settled = ++clock;
    call.outcome = error === undefined ? "ok" : outcomeOf(error);
  };
  const follow = (call: Done, promise: Promise<void>) => {
    running.push(promise.then(() => end(call), (error) => end(call, error)));
  };

  await intercepted((call) => {
    const bytes = bytesOf(call);
    if (bytes !== undefined) {
      if (failures.get(idOf(bytes)) === "write") throw systemError("EIO");
    } else if (call.name === "rename" || call.name === "link") {
      const [from, to] = call.args.map(String);
      // Ignore a rename that moves a temporary file aside.
      if (path.basename(to!) !== "file" && path.basename(to!) !== "target") return;
      let content;
      try {
        content = fs.readFileSync(from!);
      } catch {
        return; // The temporary file has been moved aside.
      }
      if (failures.get(idOf(content)) === "rename") throw systemError("EIO");
    }
  }, async () => {
    for (const step of program.steps) {
      if (step.do === "pass") {
        for (let i = 0; i < step.turns; i++) await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      if (step.do === "wait") {
        await settle();
        if (step.put !== undefined) put(step.put);
        world = look();
        continue;
      }
      const call = begin(step);
      const where = spellings[step.spelling]!;
      const data = `${step.id} ${"x".repeat(step.size)}`;
      switch (step.do) {
        case "write":
          follow(call, calls.write(where, data, step.options));
          break;
        case "sync":
          try {
            calls.writeSync(where, data, step.options);
            end(call);
            const { entry, target } = look();
            const landed = entry === "link" ? target : entry;
            if (landed?.id !== step.id) {
              throw new Error(`atomicWriteSync() of ${step.id} left ${landed?.id}`);
            }
          } catch (error) {
            if (call.outcome === "ok") throw error;
            end(call, error);
          }
          break;
        case "stream": {
          const source = (async function* () {
            yield data;
            for (let i = 0; i < step.id % 4; i++) {
              await new Promise((resolve) => setImmediate(resolve));
            }
            call.complete = ++clock;
          })();
          follow(call, calls.write(where, source, step.options));
          break;
        }
        case "draft": {
          const told = new Promise<void>((resolve) => setImmediate(resolve));
          follow(
            call,
            calls.draft(where, data, step.options, told, () => {
              call.complete = ++clock;
            }),
          );
          break;
        }
        case "update": {
          const update = calls.update(where, async (bytes) => {
            call.read = bytes === null ? null : idOf(bytes);
            for (let i = 0; i < step.id % 3; i++) {
              await new Promise((resolve) => setImmediate(resolve));
            }
            call.complete = ++clock;
            return data;
          }, step.options);
          follow(call, update);
        }
      }
    }
    await settle();
  });
}

function contentOf(file: string, info: fs.Stats | undefined): Content | undefined {
  return info && { id: idOf(fs.readFileSync(file)), mode: info.mode & 0o777 };
}

/** Returns the number at the start of a call's content. */
function idOf(bytes: Uint8Array): number {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(8, bytes.byteLength));
  return parseInt(start.toString("latin1"), 10);
}

function outcomeOf(error: unknown): string {
  const { code, message } = error as Error & { code?: string };
  if (code === "EIO" && message.includes("injected")) return INJECTED;
  return code ?? String(error);
}

/** The moment at which a call takes effect; an update has one for reading and one for writing. */
interface Moment {
  readonly call: Done;
  readonly reads: boolean;
}

/** Throws unless some order of the calls makes the model produce the same results. */
function check(done: readonly Done[], before: World, after: World, plainMode: number): void {
  for (const { outcome, step } of done) {
    if (!["ok", "EEXIST", INJECTED].includes(outcome)) {
      throw new Error(`Call ${step.id} (${step.do}): ${outcome}`);
    }
    if (outcome === INJECTED && step.failure === undefined) {
      throw new Error(`Call ${step.id} (${step.do}) got the failure of another`);
    }
  }
  const inMemory = done.filter(({ step }) => step.do === "write" || step.do === "sync");
  const free = done.filter((call) => !inMemory.includes(call));
  // Each row keeps its order; the rows may interleave in any way that the recorded times allow.
  const rows: Moment[][] = [inMemory.map((call) => ({ call, reads: false }))];
  const updates: Moment[] = [];
  for (const call of free) {
    if (call.step.do !== "update") rows.push([{ call, reads: false }]);
    else if (call.outcome === "ok" || call.read !== undefined) {
      updates.push({ call, reads: true }, { call, reads: false });
    }
  }
  rows.push(updates);
  const seen = new Set<string>();
  const at = rows.map(() => 0);
  const search = (world: World): boolean => {
    if (rows.every((row, i) => at[i] === row.length)) return same(world, after);
    const key = `${at.join()}:${JSON.stringify(world)}`;
    if (seen.has(key)) return false;
    seen.add(key);
    for (const [i, row] of rows.entries()) {
      const moment = row[at[i]!];
      if (moment === undefined || !isDue(moment, rows, at)) continue;
      const next = effect(moment, world, inMemory, plainMode);
      if (next === undefined) continue;
      at[i]!++;
      if (search(next)) return true;
      at[i]!--;
    }
    return false;
  };
  if (search(before)) return;
  const lines = done.map(({ step, called, settled, outcome, read }) =>
    `  ${JSON.stringify(step)}: called ${called}, settled ${settled}, ${outcome}` +
    (step.do === "update" ? `, read ${read}` : "")
  );
  throw new Error(
    `No order explains it.\nBefore: ${JSON.stringify(before)}\n${lines.join("\n")}\n` +
      `After: ${JSON.stringify(after)}`,
  );
}

/** Whether this remaining moment can come next. */
function isDue({ call, reads }: Moment, rows: Moment[][], at: number[]): boolean {
  // A call that failed may have failed as soon as it was made.
  const earliest = !reads && call.outcome === "ok" ? call.complete ?? call.called : call.called;
  return rows.every((row, i) =>
    row.slice(at[i]).every(({ call: other }) => {
      if (other === call) return true;
      if (other.settled < earliest) return false;
      // An update reads only after all earlier calls have completed.
      return !(reads && i === 0 && other.called < call.called);
    })
  );
}

/** Returns the state of the files after a moment, or undefined if that moment is impossible. */
function effect(
  { call, reads }: Moment,
  world: World,
  inMemory: readonly Done[],
  plainMode: number,
): World | undefined {
  const { step, outcome } = call;
  const { entry, target } = world;
  const { createNew, symlinks } = step.options;
  const mode = isWindows ? undefined : step.options.mode;
  if (reads) {
    const found = entry === "link" ? target : entry;
    return (found?.id ?? null) === call.read ? world : undefined;
  }
  if (outcome === INJECTED) return createNew && entry !== undefined ? undefined : world;
  if (outcome === "EEXIST") return createNew && entry !== undefined ? world : undefined;
  if (createNew && entry !== undefined) return undefined;
  // A failure may stay hidden only if the call was coalesced with a later identical call.
  if (step.failure !== undefined && !isHidden(call, inMemory)) return undefined;
  const follows = entry === "link" && symlinks !== "replace";
  const found = follows ? target : entry === "link" ? undefined : entry;
  const content = { id: step.id, mode: mode ?? found?.mode ?? plainMode };
  return follows ? { entry, target: content } : { entry: content, target };
}

function isHidden(call: Done, inMemory: readonly Done[]): boolean {
  const { step } = call;
  if (step.do !== "write" || step.options.createNew) return false;
  for (const { step: other, outcome } of inMemory.slice(inMemory.indexOf(call) + 1)) {
    const { spelling, options, do: kind } = other;
    if (kind !== "write") return false;
    // On Windows, all spellings refer to the same path.
    if (!isWindows && spelling !== step.spelling) return false;
    if (JSON.stringify(options) !== JSON.stringify(step.options)) return false;
    if (outcome === "ok" && other.failure === undefined) return true;
  }
  return false;
}

function same(a: World, b: World): boolean {
  const equal = (one: World["entry"], other: World["entry"]) =>
    JSON.stringify(one) === JSON.stringify(other);
  return equal(a.entry, b.entry) && equal(a.target, b.target);
}

/** The library's calls. */
export const library: Calls = {
  write: atomicWrite,
  writeSync: atomicWriteSync,
  async draft(path, data, options, told, committing) {
    const file = await AtomicFile.open(path, options);
    try {
      await file.write(data);
      await told;
      committing();
      await file.commit();
    } finally {
      await file.discard();
    }
  },
  update: atomicUpdate,
};

/** Returns the first seed whose program produces a result that the model does not allow. */
export async function findWrong(
  calls: Calls,
  seeds: Iterable<number>,
): Promise<{ seed: number; error: Error } | undefined> {
  for (const seed of seeds) {
    try {
      await inTempDir((dir) => runProgram(dir, programOf(seed, !isWindows), calls));
    } catch (error) {
      return { seed, error: error as Error };
    }
  }
}
