// Builds the npm package into npm/: deno task build:npm [--test]
// With dnt where JSR answers, elsewhere with TypeScript alone (transpile.ts), to the same layout.

import { importArgs } from "./imports.ts";
import { entryPoints, extraFiles, packageJson } from "./package.ts";
import { root } from "./setup.mjs";
import { transpile } from "./transpile.ts";

Deno.chdir(root);
const outDir = `${root}/npm`;
await Deno.remove(outDir, { recursive: true }).catch((error) => {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
});

const jsr = (await importArgs()).length === 0;
if (jsr) await buildWithDnt();
else transpile(outDir);

for (const file of extraFiles) await Deno.copyFile(`${root}/${file}`, `${outDir}/${file}`);
console.log(
  `Built npm/ with ${jsr ? "dnt" : "TypeScript"}: ${packageJson.name}@${packageJson.version}`,
);

async function buildWithDnt(): Promise<void> {
  // No literal: where JSR does not answer there is no such module, and types are checked there too.
  const { build } = await import("@deno/dnt" as string);
  await build({
    entryPoints: entryPoints.map(({ name, path }) => name === "." ? path : { name, path }),
    outDir,
    importMap: "deno.json",
    // The library tells the runtimes apart itself, and a shim of Deno has no file locks.
    shims: {},
    rootTestDir: `${root}/tests`,
    // dnt writes the tests into the package only when it is to run them too.
    test: Deno.args.includes("--test"),
    typeCheck: "both",
    declarationMap: false,
    // The standard library uses more of the language's library than Node 20 has, in its assertions.
    filterDiagnostic: ({ file }: { file?: { fileName: string } }) =>
      !file?.fileName.includes("/deps/"),
    compilerOptions: {
      target: "ES2022",
      lib: ["ES2022", "ESNext.Disposable"],
      noUncheckedIndexedAccess: true,
    },
    package: {
      ...packageJson,
      devDependencies: { "@types/deno": "^2.7.0", "@types/node": "^22.0.0" },
    },
  });
}
