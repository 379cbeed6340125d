import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import { importNodeGlobals } from "./node_globals.ts";
import { entryPoints } from "./package.ts";
import { nodeModules, setUp } from "./setup.mjs";
import { filesOf } from "./trees.ts";

/** The part of rollup (https://rollupjs.org) that is used here. */
interface Rollup {
  rollup(options: Record<string, unknown>): Promise<Bundle>;
}

interface Bundle {
  generate(options: Record<string, unknown>): Promise<{ output: Chunk[] }>;
  write(options: Record<string, unknown>): Promise<{ output: Chunk[] }>;
  close(): Promise<void>;
}

interface Chunk {
  readonly fileName: string;
  readonly isEntry: boolean;
  /** The modules that the file contains, by path. */
  readonly moduleIds: readonly string[];
}

/**
 * The names of the files shared by several entry points. Each key is a module that the named file
 * contains.
 */
const SHARED: Readonly<Record<string, string>> = {
  "runtime/mod.js": "common",
  "internal/write/mod.js": "writing",
  "internal/lock/acquire.js": "locking",
  "internal/update/mod.js": "updating",
};

/**
 * Bundles the compiled modules into one file per entry point, plus a file for each set of modules
 * that the same entry points share. Fewer files load faster, because opening a file takes about as
 * long as loading its content. Both the ES modules and the CommonJS modules are built from the
 * compiled ES modules; the declarations are left unchanged.
 */
export async function joinModules(outDir: string): Promise<void> {
  setUp();
  const { rollup }: Rollup = createRequire(path.join(nodeModules, "_"))("rollup");
  const from = path.join(outDir, "esm");
  const bundle = await rollup({
    input: Object.fromEntries(entryPoints.map(({ file }) => [file, path.join(from, `${file}.js`)])),
    external: /^node:/,
    plugins: [{
      name: "node-globals",
      transform: (code: string, id: string) => importNodeGlobals(id, code),
    }],
    onwarn(warning: { message: string }) {
      throw new Error(warning.message);
    },
  });
  const names = sharedNames((await bundle.generate({})).output, from);
  for (const [dir, format] of [["esm", "es"], ["script", "cjs"]] as const) {
    const joined = path.join(outDir, `${dir}.joined`);
    const { output } = await bundle.write({
      dir: joined,
      format,
      entryFileNames: "[name].js",
      chunkFileNames: "[name].js",
      manualChunks: (id: string) => names.get(id),
      // Otherwise, esbuild warns that a package marked as free of side effects is imported for its
      // side effects.
      hoistTransitiveImports: false,
      minifyInternalExports: false,
      // Generate the same code as TypeScript.
      generatedCode: { preset: "es2015", symbols: false },
      exports: "named",
      esModule: true,
      interop: "default",
    });
    for (const file of filesOf(path.join(outDir, dir)).filter((name) => name.endsWith(".js"))) {
      fs.rmSync(path.join(outDir, dir, file));
    }
    for (const { fileName } of output) {
      fs.renameSync(path.join(joined, fileName), path.join(outDir, dir, fileName));
    }
    fs.rmdirSync(joined);
  }
  await bundle.close();
}

/** Returns the file name for each shared module. */
function sharedNames(chunks: readonly Chunk[], from: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { moduleIds } of chunks.filter(({ isEntry }) => !isEntry)) {
    const modules = moduleIds.map((id) => path.relative(from, id).replaceAll("\\", "/"));
    const name = modules.map((module) => SHARED[module]).find((name) => name !== undefined);
    if (name === undefined) throw new Error(`The file with ${modules.join(", ")} needs a name`);
    for (const id of moduleIds) found.set(id, name);
  }
  return found;
}
