import * as fs from "node:fs";
import { pathToFileURL } from "node:url";
import { entryPoints, nestedPackageJson, packageJson } from "./package.ts";
import { root } from "./setup.mjs";
import { LIBS, stdMappings, TARGET } from "./transpile.ts";

/** Writes the library as ES modules and as CommonJS, with declarations, and checks their types. */
export async function buildWithDnt(outDir: string): Promise<void> {
  // The specifier is not a literal, because types are also checked when JSR is unreachable and this
  // module cannot be resolved.
  const { build } = await import("@deno/dnt" as string);
  // Replace imports from the standard library to keep a copy of it out of the package. Use an
  // import map for this, because dnt versions before 0.43 do not support `jsr:` specifiers as keys
  // of `mappings`. The URL of Node's module is only a name and is never fetched.
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
    // The library detects the runtime itself, and dnt's Deno shim has no file locks.
    shims: {},
    importMap,
    ...Object.values(imports).includes(nodePath) && { mappings: { [nodePath]: "node:path" } },
    // Tests are built separately to keep them out of the package.
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
