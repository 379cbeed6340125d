// Runs the benchmark, the demo or the proof: deno task bench|demo|prove [ARG...]

import { existsSync } from "node:fs";
import { build } from "./lib/commands.ts";
import { deno, importArgs } from "./lib/imports.ts";
import { root } from "./lib/setup.mjs";

const programs: Record<string, { file: string; needs?: "the package" | "the tests" }> = {
  bench: { file: "bench/mod.ts" },
  demo: { file: "examples/shared_cache.ts", needs: "the package" },
  prove: { file: "prove/main.ts", needs: "the tests" },
};

const [name, ...args] = Deno.args;
const program = programs[name ?? ""];
if (program === undefined) throw new Error(`Expected one of ${Object.keys(programs).join(", ")}`);
const imports = await importArgs();
if (program.needs === "the tests") await build(imports, "--tests");
else if (program.needs === "the package" && !existsSync(`${root}/npm/esm/mod.js`)) {
  await build(imports);
}
Deno.exit(await deno(["run", "-A", ...imports, `${root}/${program.file}`, ...args]));
