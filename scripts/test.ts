// Runs the tests on all runtimes that there are: deno task test [--on RUNTIME,...] [TEST...]
//   RUNTIME  deno, node, cjs (Node with CommonJS), bun, package or proof
//   TEST     a folder or file below tests/, for example lock or lock/queue
// Ends with a line that sums them up.

import { parseArgs } from "node:util";
import { build, bun, version } from "./lib/commands.ts";
import { importArgs } from "./lib/imports.ts";
import {
  bunSuite,
  denoSuite,
  nodeSuite,
  packageSuite,
  runSuites,
  scriptSuite,
  type Suite,
  testFiles,
} from "./lib/suites.ts";

const { values, positionals } = parseArgs({
  args: Deno.args,
  options: { on: { type: "string" } },
  allowPositionals: true,
});
const all = ["deno", "node", "cjs", "bun", "package", "proof"];
const some = positionals.length > 0;
const isAsked = some || values.on !== undefined;
const on = values.on?.split(",") ?? (some ? all.slice(0, 4) : all);
const files = testFiles(positionals);
// What processes do to each other, and the order of calls, depend on no kind of module, and the
// command and the guides are ES modules. The matrix has these run as CommonJS too.
const esmOnly = [
  "cli/cli_test",
  "lock/interop_test",
  "system/docs_test",
  "system/processes_test",
  "write/order_model_test",
];
const imports = await importArgs();
const suites: Suite[] = [];

// Before the tests on Deno, of which some start Node and Bun.
const [built] = await Promise.all([
  build(imports, "--tests"),
  on.includes("package") && build(imports, ...imports.length === 0 ? ["--compare"] : []),
]);
if (!built) console.log("There is no Node and npm: the npm package is not tested.");

// The longest first, so that none is left to run alone.
if (on.includes("deno")) {
  suites.push(denoSuite(Deno.version.deno, Deno.execPath(), imports, some ? files : undefined));
}
const node = built ? await version("node") : "";
if (built && on.includes("node")) suites.push(nodeSuite("ESM", node, "node", files));
if (built && on.includes("bun")) suites.push(bunSuite(await version(bun), bun, files));
if (on.includes("proof")) {
  suites.push(scriptSuite("The proof, in short", imports, "prove/main.ts", "--short"));
}
if (built && on.includes("cjs")) {
  const kept = files.filter((name) => isAsked || !esmOnly.includes(name));
  suites.push(nodeSuite("CommonJS", node, "node", kept));
}
if (built && on.includes("package")) suites.push(packageSuite(imports));
Deno.exit(await runSuites(suites));
