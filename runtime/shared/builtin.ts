import * as nodeModule from "node:module";
import process from "node:process";

/**
 * Loads a built-in Node module on first use: `node:crypto` and `node:stream/web` take longer to
 * load than the rest of the library. Node before 20.16 has no `getBuiltinModule`.
 */
export function builtin<T>(name: string): T {
  const { getBuiltinModule } = process as { getBuiltinModule?: (name: string) => unknown };
  return (getBuiltinModule?.(name) ?? nodeModule.createRequire(process.execPath)(name)) as T;
}
