import { assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { wrongArrows } from "./arrows.ts";
import { root } from "./setup.mjs";

const GOOD = {
  "mod.ts": 'export * from "./lock.ts";',
  "lock.ts": 'import { a } from "./internal/base/a.ts"; import "@std/path/join"; import "node:fs";',
  "internal/base/a.ts":
    'import type { B } from "./b.ts"; import { c } from "../../runtime/mod.ts";',
  "internal/base/b.ts": "export interface B {}",
  "runtime/mod.ts": 'import data from "../deno.json" with { type: "json" };',
  "tests/lock_test.ts": 'import "../mod.ts"; import "../scripts/lib/x.ts";',
  "scripts/lib/x.ts": "",
};

/** Checks a tree of these files. */
function check(files: Record<string, string>): string[] {
  const dir = Deno.makeTempDirSync();
  try {
    for (const [name, text] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
      fs.writeFileSync(path.join(dir, name), text);
    }
    return wrongArrows(dir);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
}

Deno.test("wrongArrows() accepts imports from lower layers", () => {
  assertEquals(check(GOOD), []);
});

Deno.test("wrongArrows() reports an import from a higher layer, and the cycle", () => {
  const wrong = check({
    ...GOOD,
    "internal/base/b.ts": 'import { DirLock } from "../../lock.ts";',
  });
  assertEquals(wrong, [
    "internal/base/b.ts imports lock.ts: internal/base/ must not import from the public files",
    "cycle: internal/base/a.ts → internal/base/b.ts → lock.ts → internal/base/a.ts",
  ]);
});

for (
  const statement of [
    'import type { B } from "../internal/base/b.ts";',
    'export type { B } from "../internal/base/b.ts";',
    'type B = import("../internal/base/b.ts").B;',
    'const b = await import("../internal/base/b.ts");',
    'const b = require("../internal/base/b.ts");',
  ]
) {
  Deno.test(`wrongArrows() detects ${statement}`, () => {
    assertEquals(
      check({ ...GOOD, "runtime/mod.ts": statement }),
      [
        "runtime/mod.ts imports internal/base/b.ts: runtime/mod.ts must not import from internal/base/",
        "cycle: internal/base/a.ts → runtime/mod.ts → internal/base/a.ts",
      ].slice(0, 1),
    );
  });
}

Deno.test("wrongArrows() reports an import between components in the same layer", () => {
  const components = { "internal/lock/a.ts": "", "internal/json/b.ts": 'import "../lock/a.ts";' };
  assertEquals(check({ ...GOOD, ...components }), [
    "internal/json/b.ts imports internal/lock/a.ts: internal/json/ must not import from internal/lock/",
  ]);
});

Deno.test("wrongArrows() reports a published file that imports a test", () => {
  assertEquals(check({ ...GOOD, "mod.ts": 'import "./tests/support/x.ts";' }), [
    "mod.ts imports tests/support/x.ts: the public files must not import from what is not published",
  ]);
});

Deno.test("wrongArrows() reports a cycle of type imports outside the library", () => {
  const cycle = {
    "prove/a.ts": 'import type { B } from "./b.ts";',
    "prove/b.ts": 'import type { A } from "./a.ts";',
  };
  assertEquals(check({ ...GOOD, ...cycle }), [
    "cycle: prove/a.ts → prove/b.ts → prove/a.ts",
  ]);
});

Deno.test("wrongArrows() ignores imports in comments and strings", () => {
  const text = '/** import { x } from "../mod.ts" */ const s = \'import "../mod.ts"\';';
  assertEquals(check({ ...GOOD, "runtime/mod.ts": text }), []);
});

Deno.test("wrongArrows() finds no wrong import in scripts/", () => {
  assertEquals(wrongArrows(root).filter((line) => line.startsWith("scripts/")), []);
});
