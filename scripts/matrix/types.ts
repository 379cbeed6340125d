// Type-checks a program that uses the package with several versions of TypeScript and @types/node,
// with and without the "dom" library: deno run -A scripts/matrix/types.ts

import * as fs from "node:fs";
import { Project, typesProgram } from "../lib/project.ts";
import { installed } from "../lib/runtimes.ts";
import { setUp } from "../lib/setup.mjs";
import { Checklist } from "../lib/checklist.ts";

/** TypeScript versions, each with a version of @types/node that supports it. */
const VERSIONS = [
  ["5.2.2", "20"],
  ["5.5.4", "20"],
  ["5.7.3", "22"],
  ["5.9.3", "24"],
  ["6.0.3", "24"],
  ["7.0.2", "24"],
] as const;

setUp();
const project = await Project.create();
await project.install();
for (const extension of ["mts", "cts"]) project.write(`use.${extension}`, typesProgram());
const steps = new Checklist();
const types = `${project.dir}/node_modules/@types`;
for (const [typescript, typesNode] of VERSIONS) {
  const tsc = `${await installed("typescript", typescript)}/typescript/bin/tsc`;
  fs.rmSync(types, { recursive: true, force: true });
  fs.symlinkSync(`${await installed("@types/node", typesNode)}/@types`, types, "junction");
  for (const lib of ["es2022", "es2022,dom"]) {
    await steps.run(`TypeScript ${typescript}, @types/node ${typesNode}, ${lib}`, async () => {
      const options = [
        "--noEmit",
        "--strict",
        "--exactOptionalPropertyTypes",
        "--target",
        "es2022",
      ];
      options.push("--module", "nodenext", "--types", "node", "--lib", lib);
      // Without `skipLibCheck`, our declarations and those of @types/node are checked too.
      options.push("--skipLibCheck", "false");
      await project.run("node", [tsc, ...options, "use.mts", "use.cts"]);
    });
  }
}
project.remove();
Deno.exit(steps.end());
