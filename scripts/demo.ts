// Runs the demo, with Node too if it is there: deno task demo [DIR]

import { buildPackage } from "./commands.ts";
import { deno, importArgs } from "./imports.ts";
import { root } from "./setup.mjs";

const imports = await importArgs();
try {
  await Deno.stat(`${root}/npm/esm/mod.js`);
} catch (error) {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
  await buildPackage(imports);
}
Deno.exit(await deno(["run", "-A", ...imports, `${root}/examples/shared_cache.ts`, ...Deno.args]));
