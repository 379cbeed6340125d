// Runs the tests on more runtime versions and in test runners, bundles and frameworks:
// deno task test:matrix [NAME...]
//   NAME  node, deno, bun, package, types, jest, vitest, pnpm, bundlers, site or next; by default
//         all
// The last line is the total.

import { build, bun, version } from "./lib/commands.ts";
import { importArgs } from "./lib/imports.ts";
import { deno, node, setUpMatrix, versions } from "./lib/runtimes.ts";
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

const files = testFiles([]);
const imports = await importArgs();
if (!await build(imports, "--tests")) throw new Error("The matrix needs Node and npm");
await build(imports);
setUpMatrix();

const script = (name: string) => scriptSuite(name, imports, `scripts/matrix/${name}.ts`);
const parts: Record<string, () => Promise<Suite[]>> = {
  async node() {
    const suites: Suite[] = [];
    for (const wanted of versions.node) {
      const command = await node(wanted);
      suites.push(nodeSuite("ESM", wanted, command, files));
      suites.push(nodeSuite("CommonJS", wanted, command, files));
    }
    return suites;
  },
  async deno() {
    const suites: Suite[] = [];
    for (const wanted of versions.deno) suites.push(denoSuite(wanted, await deno(wanted), imports));
    return suites;
  },
  bun: async () => [bunSuite(await version(bun), bun, files)],
  package: () => Promise.resolve([packageSuite(imports)]),
  types: () => Promise.resolve([script("types")]),
  jest: () => Promise.resolve([script("jest")]),
  vitest: () => Promise.resolve([script("vitest")]),
  pnpm: () => Promise.resolve([script("pnpm")]),
  bundlers: () => Promise.resolve([script("bundlers")]),
  site: () => Promise.resolve([script("site")]),
  next: () => Promise.resolve([script("next")]),
};

const suites: Suite[] = [];
for (const name of Deno.args.length > 0 ? Deno.args : Object.keys(parts)) {
  const part = parts[name];
  if (part === undefined) throw new Error(`Expected one of ${Object.keys(parts).join(", ")}`);
  suites.push(...await part());
}
Deno.exit(await runSuites(suites));
