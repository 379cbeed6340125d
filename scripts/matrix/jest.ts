// Runs the cases in Jest 27, 29 and 30, in the Node and jsdom environments, as CommonJS and as ES
// modules: deno run -A scripts/matrix/jest.ts

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
for (const version of [27, 29, 30]) {
  for (const environment of ["node", "jsdom"]) {
    for (const [name, file] of [["CommonJS", "commonjs"], ["ESM", "module"]] as const) {
      const out = `${name}-${version}-${environment}.json`;
      const jest = `${matrixModules}/jest-${version}/bin/jest.js`;
      const args = ["--experimental-vm-modules", "--no-warnings", jest, file];
      const env = environment === "node"
        ? environment
        : `${matrixModules}/jest-environment-jsdom-${version}`;
      const options = [`--env=${env}`, "--json", `--outputFile=${out}`];
      // Jest exits with 1 if any test fails; the report says which ones.
      await project.run("node", [...args, ...options]).catch(() => {});
      const title = `Jest ${version}, ${environment}, ${name}`;
      await steps.reported(title, `${project.dir}/${out}`, Object.keys(CASES));
    }
  }
}
project.remove();
Deno.exit(steps.end());
