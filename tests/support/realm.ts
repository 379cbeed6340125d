import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { type Context, createContext, runInContext } from "node:vm";

/** Where the CommonJS build of the library is, seen from the tests of either build. */
const BUILT: string = fileURLToPath(new URL("../../../script/mod.js", import.meta.url));

/** What a host gives to a context, as Jest and vitest do: of the realm of the host, all of it. */
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

type Module = { exports: unknown };

/**
 * The built library in a context of its own: its errors, arrays and promises are of another realm
 * than those of node:fs. `buffers` are given to it too, as Jest does.
 */
export function inContext(
  buffers: boolean,
): { lib: typeof import("../../mod.ts"); context: Context } {
  const names = buffers ? [...GIVEN, "ArrayBuffer", "Uint8Array"] : GIVEN;
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
  return { lib: load(BUILT) as typeof import("../../mod.ts"), context };
}

/** A value of another realm. */
export function foreign<T>(code: string): T {
  return runInContext(code, createContext({}));
}
