// Installs the package with pnpm, which puts koffi where only the package can find it:
// deno run -A scripts/matrix/pnpm.ts

import * as fs from "node:fs";
import { Project, useProgram } from "../lib/project.ts";
import { matrixModules, setUpMatrix } from "../lib/runtimes.ts";
import { setUp } from "../lib/setup.mjs";
import { Checklist, expect } from "../lib/checklist.ts";

setUp();
setUpMatrix();
const project = await Project.create();
const steps = new Checklist();
await steps.run("pnpm install", async () => {
  project.write("package.json", JSON.stringify({ private: true }));
  const pnpm = `${matrixModules}/pnpm/bin/pnpm.cjs`;
  await project.run("node", [pnpm, "add", "--store-dir", `${project.dir}/store`, project.tarball]);
  expect(fs.existsSync(`${project.dir}/node_modules/koffi`), false);
});
for (const [kind, name] of [["esm", "use.mjs"], ["cjs", "use.cjs"]] as const) {
  await steps.run(`use as ${name}`, async () => {
    project.write(name, useProgram(kind));
    expect(await project.run("node", [name]), "used");
  });
}
project.remove();
Deno.exit(steps.end());
