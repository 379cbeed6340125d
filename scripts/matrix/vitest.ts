// Runs the cases in vitest's pools: deno run -A scripts/matrix/vitest.ts

import { packageJson } from "../lib/package.ts";
import { Project } from "../lib/project.ts";
import { matrixModules, node, setUpMatrix, versions } from "../lib/runtimes.ts";
import { setUp } from "../lib/setup.mjs";
import { Checklist } from "../lib/checklist.ts";
import { CASES, testFile } from "./cases.ts";

setUp();
setUpMatrix();
const project = await Project.create();
await project.install();
project.write("module.test.mjs", testFile("esm", packageJson.name));
const steps = new Checklist();
// It does not run on Node 20.
const command = await node(versions.node.find((version) => Number.parseInt(version) >= 22)!);
for (const pool of ["forks", "threads", "vmThreads", "vmForks"]) {
  const out = `${pool}.json`;
  const vitest = `${matrixModules}/vitest/vitest.mjs`;
  const options = ["--globals", `--pool=${pool}`, "--reporter=json", `--outputFile=${out}`];
  await project.run(command, [vitest, "run", ...options]).catch(() => {});
  await steps.reported(`vitest, ${pool}`, `${project.dir}/${out}`, Object.keys(CASES));
}
project.remove();
Deno.exit(steps.end());
