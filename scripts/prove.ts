// Checks the guarantees at length: deno task prove [--short] [--only PART,...]

import { buildPackage } from "./commands.ts";
import { deno, importArgs } from "./imports.ts";
import { root } from "./setup.mjs";

const imports = await importArgs();
await buildPackage(imports, "--test");
Deno.exit(await deno(["run", "-A", ...imports, `${root}/prove/main.ts`, ...Deno.args]));
