// Runs the cases in vitest's pools and environments: deno run -A scripts/matrix/vitest.ts

import * as fs from "node:fs";
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
for (const name of ["jsdom", "happy-dom"]) {
  fs.symlinkSync(`${matrixModules}/${name}`, `${project.dir}/node_modules/${name}`, "junction");
}
// vitest does not run on Node 20.
const command = await node(versions.node.find((version) => Number.parseInt(version) >= 22)!);
const runs = [
  ...["forks", "threads", "vmThreads", "vmForks"].map((pool) => [pool, "node"]),
  ["forks", "jsdom"],
  ["forks", "happy-dom"],
];
for (const [pool, environment] of runs) {
  const out = `${pool}-${environment}.json`;
  const vitest = `${matrixModules}/vitest/vitest.mjs`;
  const options = [`--pool=${pool}`, `--environment=${environment}`, "--globals"];
  options.push("--reporter=json", `--outputFile=${out}`);
  await project.run(command, [vitest, "run", ...options]).catch(() => {});
  await steps.reported(
    `vitest, ${pool}, ${environment}`,
    `${project.dir}/${out}`,
    Object.keys(CASES),
  );
}
project.remove();
Deno.exit(steps.end());
