/**
 * Locks held by Deno, Node, Bun and a native program exclude each other. The tests run on Deno; the
 * other programs take part if they and the compiled tests exist. The native program,
 * scripts/wine/lock.c, runs on Windows.
 */
import { assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { DirLock } from "../../mod.ts";
import { Child, type ChildOptions } from "../support/child.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { isDeno, test } from "../support/test.ts";

const built = fileURLToPath(new URL("../../npm_test", import.meta.url));
const worker = (dir: string) => path.join(built, dir, "tests", "support", "worker.js");
const bun = process.env.APERTURE_BUN ?? "bun";
const node = process.env.APERTURE_NODE ?? "node";
const native = process.env.APERTURE_LOCK_PROGRAM;
const runtimes: [string, ChildOptions][] = [
  ["Deno", {}],
  ["Node, ESM", { worker: [node, worker("esm")] }],
  ["Node, CommonJS", { worker: [node, worker("script")] }],
  ["Bun", { worker: [bun, worker("esm")] }],
];

function missing([name, { worker }]: [string, ChildOptions]): string | false {
  if (!isDeno) return "runs on Deno";
  if (worker === undefined) return false;
  if (worker[1] !== undefined && !fs.existsSync(worker[1])) return "the package is not built";
  return !works(worker[0]!) && `${name} is missing`;
}

const known = new Map<string, boolean>();

function works(command: string): boolean {
  if (!known.has(command)) known.set(command, spawnSync(command, ["--version"]).status === 0);
  return known.get(command)!;
}

const programs = native === undefined
  ? runtimes
  : [...runtimes, ["a native program", { worker: [native] }] as [string, ChildOptions]];

const WAYS = ["exclusive", "shared"];

/** What each program reported while another held the lock, for each combination of lock modes. */
type Findings = Map<string, string[]>;

/**
 * Lets each program in turn hold the lock while all programs try to acquire it. All tests share one
 * run.
 */
async function findings(): Promise<Findings> {
  const found: Findings = new Map();
  const there = programs.filter((program) => !missing(program));
  await inTempDir(async (dir) => {
    const triers = there.map(([name, how]) => [name, new Child("try", [dir], how)] as const);
    for (const [name, how] of there) {
      const holder = new Child("hold", [dir, ...WAYS], how);
      for (const _held of WAYS) {
        await holder.says("held");
        await Promise.all(triers.map(async ([other, trier]) => {
          const pair = `${name}, ${other}`;
          for (const wanted of WAYS) {
            trier.tell(wanted);
            found.set(pair, [...found.get(pair) ?? [], await trier.line()]);
          }
        }));
        holder.tell();
      }
      assertEquals(await holder.exit(), 0);
    }
    for (const [, trier] of triers) assertEquals(await trier.exit(), 0);
  });
  return found;
}

let found: Promise<Findings> | undefined;

for (const one of programs) {
  for (const other of programs) {
    test(`DirLock.acquire() on ${one[0]} excludes ${other[0]}`, async () => {
      found ??= findings();
      const ways = (await found).get(`${one[0]}, ${other[0]}`);
      assertEquals(ways, ["not free", "not free", "not free", "free"]);
    }, { skip: missing(one) || missing(other) });
  }
}

for (const one of programs) {
  test(
    `DirLock is free as soon as its holder on ${one[0]} is killed`,
    () =>
      inTempDir(async (dir) => {
        const holder = new Child("hold", [dir, "exclusive"], one[1]);
        await holder.says("held");
        await holder.kill();
        (await DirLock.acquire(dir, { timeout: 10_000 })).release();
      }),
    { skip: missing(one) },
  );
}

test(
  "atomicUpdate() keeps all updates when Deno, Node and Bun update the same file",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "counter");
      const children = runtimes.map(([, options]) => new Child("update", [file, 32], options));
      assertEquals(await Promise.all(children.map((child) => child.exit())), [0, 0, 0, 0]);
      assertEquals([text(file), list(dir)], ["128", ["counter"]]);
    }),
  { skip: runtimes.map(missing).find((reason) => reason) ?? false },
);
