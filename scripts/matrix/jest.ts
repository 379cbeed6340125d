// Runs the cases in Jest 29 and 30, as CommonJS and as ES modules:
// deno run -A scripts/matrix/jest.ts

import { packageJson } from "../lib/package.ts";
import { Project } from "../lib/project.ts";
import { matrixModules, setUpMatrix } from "../lib/runtimes.ts";
import { setUp } from "../lib/setup.mjs";
import { Checklist } from "../lib/checklist.ts";
import { CASES, testFile } from "./cases.ts";

setUp();
setUpMatrix();
const project = await Project.create();
await project.install();
project.write("commonjs.test.cjs", testFile("cjs", packageJson.name));
project.write("module.test.mjs", testFile("esm", packageJson.name));
project.write(
  "jest.config.json",
  JSON.stringify({
    testMatch: ["**/*.test.[cm]js"],
    moduleFileExtensions: ["js", "mjs", "cjs", "json", "node"],
    transform: {},
  }),
);
const steps = new Checklist();
for (const version of [29, 30]) {
  for (const [name, file] of [["CommonJS", "commonjs"], ["ESM", "module"]] as const) {
    const out = `${name}-${version}.json`;
    const jest = `${matrixModules}/jest-${version}/bin/jest.js`;
    const args = ["--experimental-vm-modules", "--no-warnings", jest, file];
    const options = ["--json", `--outputFile=${out}`];
    // It fails when a test does; which one it was is in its report.
    await project.run("node", [...args, ...options]).catch(() => {});
    await steps.reported(`Jest ${version}, ${name}`, `${project.dir}/${out}`, Object.keys(CASES));
  }
}
project.remove();
Deno.exit(steps.end());
