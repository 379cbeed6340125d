// Runs the benchmark: deno task bench [DIR]

import { deno, importArgs } from "./imports.ts";
import { root } from "./setup.mjs";

Deno.exit(await deno(["run", "-A", ...await importArgs(), `${root}/bench/mod.ts`, ...Deno.args]));
