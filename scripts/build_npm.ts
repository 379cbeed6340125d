// Builds the npm package, with dnt if JSR is reachable, otherwise with TypeScript alone.
// Both produce the same modules, which rollup bundles into a few files.
//   deno task build:npm [--tests | --compare]
//   --tests    builds the library with its tests into npm_test/ instead
//   --compare  also builds with TypeScript alone, and fails unless the output matches dnt's

import * as fs from "node:fs";
import { buildWithDnt } from "./lib/dnt.ts";
import { importArgs } from "./lib/imports.ts";
import { joinModules } from "./lib/join.ts";
import { extraFiles, packageJson } from "./lib/package.ts";
import { root } from "./lib/setup.mjs";
import { link, transpilePackage, transpileTests } from "./lib/transpile.ts";
import { differences, filesOf } from "./lib/trees.ts";

Deno.chdir(root);
if (Deno.args.includes("--tests")) {
  empty("npm_test");
  transpileTests(`${root}/npm_test`);
  console.log("Built npm_test/ with TypeScript");
} else {
  const jsr = (await importArgs()).length === 0;
  empty("npm");
  if (jsr) await buildWithDnt(`${root}/npm`);
  else transpilePackage(`${root}/npm`);
  await complete(`${root}/npm`);
  if (Deno.args.includes("--compare")) await compare(jsr);
  link(`${root}/npm`, "koffi");
  const { name, version } = packageJson;
  console.log(`Built npm/ with ${jsr ? "dnt" : "TypeScript"}: ${name}@${version}`);
}

function empty(dir: string): void {
  fs.rmSync(`${root}/${dir}`, { recursive: true, force: true });
}

/** Bundles the compiled modules and adds the files that the compilers do not generate. */
async function complete(outDir: string): Promise<void> {
  await joinModules(outDir);
  for (const file of filesOf(outDir).filter((name) => name.endsWith(".d.ts"))) {
    const text = fs.readFileSync(`${outDir}/${file}`, "utf8");
    // The sources omit this directive, because JSR rejects it.
    if (/\bSymbol\.(d|asyncD)ispose\b/.test(text)) {
      fs.writeFileSync(`${outDir}/${file}`, `/// <reference lib="esnext.disposable" />\n${text}`);
    }
  }
  fs.writeFileSync(`${outDir}/package.json`, `${JSON.stringify(packageJson, undefined, 2)}\n`);
  for (const file of extraFiles) {
    if (fs.existsSync(file)) fs.copyFileSync(file, `${outDir}/${file}`);
  }
}

async function compare(jsr: boolean): Promise<void> {
  if (!jsr) throw new Error("--compare needs JSR, which is unreachable");
  const other = Deno.makeTempDirSync({ prefix: "aperture-build-" });
  transpilePackage(other);
  await complete(other);
  const different = differences(`${root}/npm`, other);
  for (const line of different) console.log(`FAILED: ${line}`);
  if (different.length > 0) Deno.exit(1);
  fs.rmSync(other, { recursive: true });
  console.log("Building with TypeScript alone produced the same files");
}
