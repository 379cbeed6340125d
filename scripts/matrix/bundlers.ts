// Bundles a program that writes and locks, with both module kinds of the package, and runs the
// bundles. Also traces the entry points as Next.js does: deno run -A scripts/matrix/bundlers.ts

import * as fs from "node:fs";
import { entryPoints, packageJson } from "../lib/package.ts";
import { Project, tool, useProgram } from "../lib/project.ts";
import { matrixModules, setUpMatrix } from "../lib/runtimes.ts";
import { setUp } from "../lib/setup.mjs";
import { Checklist, expect } from "../lib/checklist.ts";

type Kind = "esm" | "cjs";

setUp();
setUpMatrix();
const project = await Project.create();
await project.install();
const steps = new Checklist();
const KINDS = ["esm", "cjs"] as const;
const extension = { esm: "mjs", cjs: "cjs" };

/** For each bundler, a program that bundles `entry` into `output` in `format`. */
const bundlers: Record<string, (entry: string, output: string, format: Kind) => string> = {
  esbuild: (entry, output, format) => `
    const { buildSync } = require("${matrixModules}/esbuild");
    buildSync({
      entryPoints: ["${entry}"], outfile: "${output}", bundle: true, platform: "node",
      format: "${format}", logLevel: "error",
      ${
    entry.endsWith(".cjs") && format === "esm"
      // esbuild's documentation recommends this for CommonJS code that requires Node's modules.
      ? 'banner: { js: "import { createRequire } from \\"node:module\\"; ' +
        'const require = createRequire(import.meta.url);" },'
      : ""
  }
    });`,
  rollup: (entry, output, format) => `
    const { rollup } = require("${matrixModules}/rollup");
    const { nodeResolve } = require("${matrixModules}/@rollup/plugin-node-resolve");
    const commonjs = require("${matrixModules}/@rollup/plugin-commonjs");
    (async () => {
      const bundle = await rollup({
        input: "${entry}", external: [/^node:/],
        plugins: [nodeResolve({ preferBuiltins: true }), commonjs()],
        onwarn: (warning) => { if (warning.code !== "CIRCULAR_DEPENDENCY") throw warning; },
      });
      await bundle.write({ file: "${output}", format: "${format}" });
    })();`,
  webpack: (entry, output, format) => `
    const webpack = require("${matrixModules}/webpack");
    const esm = ${format === "esm"};
    webpack({
      mode: "production", target: "node20", entry: "${entry}", externals: { koffi: "koffi" },
      externalsType: esm ? "module" : "commonjs", experiments: { outputModule: esm },
      output: {
        path: "${project.dir}", filename: "${output.slice(project.dir.length + 1)}",
        library: { type: esm ? "module" : "commonjs2" },
      },
    }, (error, stats) => {
      if (error || stats.hasErrors() || stats.hasWarnings()) {
        console.error(error ?? stats.toString());
        process.exitCode = 1;
      }
    });`,
};

/** Runs a bundle while the package itself is not installed. */
async function runWithoutPackage(...command: [string, ...string[]]): Promise<string> {
  const installed = `${project.dir}/node_modules/${packageJson.name}`;
  fs.renameSync(installed, `${installed}-away`);
  try {
    return await project.run(command[0], command.slice(1));
  } finally {
    fs.renameSync(`${installed}-away`, installed);
  }
}

for (const kind of KINDS) project.write(`use.${extension[kind]}`, useProgram(kind));
for (const [bundler, program] of Object.entries(bundlers)) {
  for (const entry of KINDS) {
    for (const format of KINDS) {
      await steps.run(`${bundler} of the ${entry} build to ${format}`, async () => {
        const name = `${bundler}-${entry}.${extension[format]}`;
        const [from, to] = [`${project.dir}/use.${extension[entry]}`, `${project.dir}/${name}`];
        await project.run("node", ["-e", program(from, to, format)]);
        expect(await runWithoutPackage("node", name), "used");
      });
    }
  }
}

await steps.run("webpack in development mode, which wraps each module in eval()", async () => {
  const program = bundlers.webpack!(`${project.dir}/use.mjs`, `${project.dir}/dev.cjs`, "cjs");
  await project.run("node", ["-e", program.replace('"production"', '"development"')]);
  expect(await runWithoutPackage("node", "dev.cjs"), "used");
});
await steps.run("bun build --compile, next to node_modules", async () => {
  await project.run(tool("bun"), ["build", "--compile", "use.mjs", "--outfile", "used"]);
  expect(await runWithoutPackage(`${project.dir}/used`), "used");
});
const away = fs.realpathSync(Deno.makeTempDirSync({ prefix: "aperture-away-" }));
await steps.run("bun build --compile, without koffi", async () => {
  fs.renameSync(`${project.dir}/used`, `${away}/used`);
  expect(await project.run(`${away}/used`, []), "used");
});
await steps.run("a bundle without koffi says what is missing", async () => {
  fs.copyFileSync(`${project.dir}/esbuild-esm.cjs`, `${away}/bundle.cjs`);
  const said = await project.run("node", [`${away}/bundle.cjs`]).catch(({ message }) => message);
  if (
    !/koffi, which was not found from the bundle '.*bundle\.cjs': run npm install koffi/.test(said)
  ) {
    throw new Error(said);
  }
});

const nft = `
  const { nodeFileTrace } = require("${matrixModules}/@vercel/nft");
  nodeFileTrace([process.argv[1]], { base: "${project.dir}" }).then(({ fileList, warnings }) => {
    console.log(JSON.stringify([[...fileList].sort(), [...warnings].map(String)]));
  });`;
for (const dir of ["esm", "script"]) {
  for (const { file } of entryPoints) {
    if (dir === "script" && file === "cli") continue;
    await steps.run(`@vercel/nft traces ${dir}/${file}.js`, async () => {
      const entry = `node_modules/${packageJson.name}/${dir}/${file}.js`;
      const said = await project.run("node", ["-e", nft, `${project.dir}/${entry}`]);
      const [files, warnings] = JSON.parse(said) as [string[], string[]];
      expect([files.includes(entry), warnings], [true, []]);
    });
  }
}

fs.rmSync(away, { recursive: true });
project.remove();
Deno.exit(steps.end());
