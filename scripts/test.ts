// Runs the tests on Deno, Node and Bun: deno task test [--on RUNTIME,...] [TEST...]
//   RUNTIME  deno, node, bun, cjs (Node with CommonJS); also package (the packed npm package) and
//            proof (the short proof), which the gate adds
//   TEST     a folder or file under tests/, for example lock or lock/queue
// As CommonJS, runs only files that may depend on the module kind, unless `--on cjs` or a TEST is
// specified. The last line is machine-readable: `N passed, N failed`.

import { parseArgs } from "node:util";
import { build, bun, version } from "./lib/commands.ts";
import { dependsOnModuleKind } from "./lib/commonjs.ts";
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
const on = values.on?.split(",") ?? ["deno", "node", "bun", "cjs"];
const files = testFiles(positionals);
const isPart = positionals.length > 0;
const imports = await importArgs();
const suites: Suite[] = [];

// Build the npm package first, because some tests on Deno start Node and Bun.
const [built] = await Promise.all([
  build(imports, "--tests"),
  on.includes("package") && build(imports, ...imports.length === 0 ? ["--compare"] : []),
]);
if (!built) console.log("Node or npm is missing, so only Deno is tested.");

if (on.includes("deno")) {
  suites.push(denoSuite(Deno.version.deno, Deno.execPath(), imports, isPart ? files : undefined));
}
const node = built ? await version("node") : "";
if (built && on.includes("node")) suites.push(nodeSuite("ESM", node, "node", files));
if (built && on.includes("bun")) suites.push(bunSuite(await version(bun), bun, files));
if (on.includes("proof")) {
  suites.push(scriptSuite("The proof, in short", imports, "prove/main.ts", "--short"));
}
if (built && on.includes("package")) suites.push(packageSuite(imports));
if (built && on.includes("cjs")) {
  const all = isPart || values.on === "cjs";
  const kept = files.filter((file) => all || dependsOnModuleKind(file));
  suites.push(nodeSuite("CommonJS", node, "node", kept));
}
Deno.exit(await runSuites(suites));
