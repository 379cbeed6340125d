import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { type Context, createContext, runInContext } from "node:vm";

/** The directory of the library's CommonJS build; the relative path is the same in both builds. */
const BUILT: string = fileURLToPath(new URL("../../../script/", import.meta.url));

/** The host globals that Jest and vitest pass to a context. */
const GIVEN = [
  "AbortController",
  "AbortSignal",
  "Blob",
  "Buffer",
  "ReadableStream",
  "TextDecoder",
  "TextEncoder",
  "URL",
  "WritableStream",
  "clearTimeout",
  "console",
  "crypto",
  "performance",
  "process",
  "queueMicrotask",
  "setTimeout",
];

/** The globals that the library needs in addition to those of ECMAScript. */
const NEEDED = ["AbortController", "AbortSignal", "clearTimeout", "process", "setTimeout"];

type Module = { exports: unknown };

/**
 * Loads the built library in its own context, so that its errors, arrays and promises belong to a
 * different realm from those of node:fs. With `buffers`, the context uses the host's ArrayBuffer
 * and Uint8Array, as in Jest.
 */
export function inContext(
  buffers: boolean,
): { lib: typeof import("../../mod.ts"); context: Context } {
  const { load, context } = newContext(buffers ? [...GIVEN, "ArrayBuffer", "Uint8Array"] : GIVEN);
  return { lib: load("mod") as typeof import("../../mod.ts"), context };
}

/** Loads the built library in a context that has only the globals it needs. */
export function inBareContext(): {
  lib: typeof import("../../mod.ts");
  json: typeof import("../../json.ts");
} {
  const { load } = newContext(NEEDED);
  return {
    lib: load("mod") as typeof import("../../mod.ts"),
    json: load("json") as typeof import("../../json.ts"),
  };
}

function newContext(names: readonly string[]): {
  load: (name: string) => unknown;
  context: Context;
} {
  const outer = globalThis as unknown as Record<string, unknown>;
  const context = createContext(Object.fromEntries(names.map((name) => [name, outer[name]])));
  runInContext("globalThis.global = globalThis", context);
  const modules = new Map<string, Module>();

  const load = (file: string): unknown => {
    const known = modules.get(file);
    if (known !== undefined) return known.exports;
    const module: Module = { exports: {} };
    modules.set(file, module);
    const code = fs.readFileSync(file, "utf8");
    const source = `(function (exports, require, module, __filename, __dirname) {${code}\n})`;
    const native = createRequire(file);
    const require = (id: string) => id.startsWith(".") ? load(native.resolve(id)) : native(id);
    runInContext(source, context, { filename: file })(
      module.exports,
      require,
      module,
      file,
      path.dirname(file),
    );
    return module.exports;
  };
  return { load: (name) => load(path.join(BUILT, `${name}.js`)), context };
}

/** Creates a value in another realm. */
export function foreign<T>(code: string): T {
  return runInContext(code, createContext({}));
}
