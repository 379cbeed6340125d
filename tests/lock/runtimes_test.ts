/**
 * Locks of Deno, Node, Bun and a native program exclude each other. The tests run on Deno; the
 * others take part if they and the compiled tests exist. The native program is for Windows:
 * scripts/wine/lock.c.
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
  return spawnSync(worker[0]!, ["--version"]).status !== 0 && `there is no ${name}`;
}

const programs = native === undefined
  ? runtimes
  : [...runtimes, ["a native program", { worker: [native] }] as [string, ChildOptions]];

for (const one of programs) {
  for (const other of programs) {
    test(`DirLock.acquire() on ${one[0]} excludes ${other[0]}`, () =>
      inTempDir(async (dir) => {
        const ways = ["exclusive", "shared"];
        const holder = new Child("hold", [dir, ...ways], one[1]);
        const trying = new Child("try", [dir], other[1]);
        for (const held of ways) {
          await holder.says("held");
          for (const wanted of ways) {
            trying.tell(wanted);
            await trying.says(held === "shared" && wanted === "shared" ? "free" : "not free");
          }
          holder.tell();
        }
        assertEquals([await holder.exit(), await trying.exit()], [0, 0]);
      }), { skip: missing(one) || missing(other) });
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
  "atomicUpdate() keeps all updates when Deno, Node and Bun update one file",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "counter");
      const children = runtimes.map(([, options]) => new Child("update", [file, 32], options));
      assertEquals(await Promise.all(children.map((child) => child.exit())), [0, 0, 0, 0]);
      assertEquals([text(file), list(dir)], ["128", ["counter"]]);
    }),
  { skip: runtimes.map(missing).find((reason) => reason) ?? false },
);
