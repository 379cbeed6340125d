import * as fs from "node:fs";
import { pathToFileURL } from "node:url";
import { entryPoints, nestedPackageJson, packageJson } from "./package.ts";
import { root } from "./setup.mjs";
import { LIBS, stdMappings, TARGET } from "./transpile.ts";

/** Writes the library as ES modules and as CommonJS, with declarations, and checks their types. */
export async function buildWithDnt(outDir: string): Promise<void> {
  // No literal: where JSR does not answer there is no such module, and types are checked there too.
  const { build } = await import("@deno/dnt" as string);
  // An import map of its own leads what the library takes from the standard library elsewhere, so
  // that the package carries no copy of it; `jsr:` specifiers as keys of `mappings` are understood
  // only from dnt 0.43 on. The address of Node's module is a name for it, and not fetched.
  const nodePath = "https://nodejs.org/api/path.html";
  const imports = Object.fromEntries(
    Object.entries(stdMappings()).map(([specifier, to]) => [
      specifier,
      to === "node:path" ? nodePath : pathToFileURL(`${root}/${to}`).href,
    ]),
  );
  const importMap = `${outDir}/imports.json`;
  fs.mkdirSync(outDir, { recursive: true });
  fs.writeFileSync(importMap, JSON.stringify({ imports }));
  await build({
    entryPoints: entryPoints.map(({ name, file, isCommand }) => ({
      kind: isCommand ? "bin" : "export",
      name,
      path: `./${file}.ts`,
    })),
    outDir,
    // The library tells the runtimes apart itself, and a shim of Deno has no file locks.
    shims: {},
    importMap,
    ...Object.values(imports).includes(nodePath) && { mappings: { [nodePath]: "node:path" } },
    // They run from a build of their own, which tests do not get into the package from.
    test: false,
    typeCheck: "both",
    declarationMap: false,
    skipSourceOutput: true,
    compilerOptions: { target: TARGET, lib: [...LIBS], noUncheckedIndexedAccess: true },
    package: {
      ...packageJson,
      devDependencies: { "@types/deno": "^2.7.0", "@types/node": "^22.0.0" },
    },
  });
  for (const [dir, json] of Object.entries(nestedPackageJson)) {
    fs.writeFileSync(`${outDir}/${dir}/package.json`, `${JSON.stringify(json, undefined, 2)}\n`);
  }
  for (const name of ["imports.json", ".npmignore", "package-lock.json"]) {
    fs.rmSync(`${outDir}/${name}`, { force: true });
  }
}
