import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import { importNodeGlobals } from "./node_globals.ts";
import { entryPoints } from "./package.ts";
import { nodeModules, setUp } from "./setup.mjs";
import { filesOf } from "./trees.ts";

/** What is used of rollup, https://rollupjs.org. */
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
  /** The modules in it, by their paths. */
  readonly moduleIds: readonly string[];
}

/** What of our modules several entry points share, by a module that is in it. */
const SHARED: Readonly<Record<string, string>> = {
  "runtime/mod.js": "common",
  "internal/write/mod.js": "writing",
  "internal/lock/acquire.js": "locking",
  "internal/update/mod.js": "updating",
};

/**
 * Joins the modules that were compiled to one file for each entry point, and one for what the same
 * of them share: each file costs an import about as much as all that is in it. Both kinds are made
 * from the ES modules. The declarations stay.
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
      // Else esbuild warns of imports for their effects from a package that has none.
      hoistTransitiveImports: false,
      minifyInternalExports: false,
      // As TypeScript has it.
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

/** The names of the files for what is shared, by the modules in them. */
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
