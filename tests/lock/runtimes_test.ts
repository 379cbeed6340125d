/**
 * Deno, Node and Bun keep each other out. The tests run on Deno; the others take part if they and
 * the built package are there.
 */
import { assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Child, type ChildOptions } from "../support/child.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { isDeno, test } from "../support/test.ts";

const built = fileURLToPath(new URL("../../npm_test", import.meta.url));
const worker = (dir: string) => path.join(built, dir, "tests", "support", "worker.js");
const bun = process.env.APERTURE_BUN ?? "bun";
const runtimes: [string, ChildOptions][] = [
  ["Deno", {}],
  ["Node, ESM", { worker: ["node", worker("esm")] }],
  ["Node, CommonJS", { worker: ["node", worker("script")] }],
  ["Bun", { worker: [bun, worker("esm")] }],
];

function missing([name, { worker }]: [string, ChildOptions]): string | false {
  if (!isDeno) return "runs on Deno";
  if (worker === undefined) return false;
  if (!fs.existsSync(worker[1]!)) return "the package is not built";
  return spawnSync(worker[0]!, ["--version"]).status !== 0 && `there is no ${name}`;
}

for (const one of runtimes) {
  for (const other of runtimes) {
    test(`DirLock on ${one[0]} keeps out ${other[0]}`, () =>
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

test(
  "atomicUpdate() loses no update of Deno, Node and Bun together",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "counter");
      const children = runtimes.map(([, options]) => new Child("update", [file, 32], options));
      assertEquals(await Promise.all(children.map((child) => child.exit())), [0, 0, 0, 0]);
      assertEquals([text(file), list(dir)], ["128", ["counter"]]);
    }),
  { skip: runtimes.map(missing).find((reason) => reason) ?? false },
);
