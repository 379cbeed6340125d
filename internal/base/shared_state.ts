import { runtime } from "../../runtime/mod.ts";

const PREFIX = "@aperture/atomic/";

/**
 * State shared by all copies of this module in one process: the ES module and CommonJS builds, or
 * two installations of the same version. Each thread and realm has its own state.
 *
 * @param name The state's name, with a number that is incremented whenever the state's shape
 * changes.
 * @param make Creates the state for the first copy that needs it.
 */
export function sharedState<T>(name: string, make: () => T): () => T {
  const key = Symbol.for(PREFIX + name);
  let state: T | undefined;
  return () => {
    if (state !== undefined) return state;
    // dnt-shim-ignore
    const holder = globalThis as { [key: symbol]: T | undefined };
    warnOfOtherVersion(name, holder);
    return state = holder[key] ??= make();
  };
}

let warned = false;

/** Warns once if another loaded version of the library uses an incompatible form of this state. */
function warnOfOtherVersion(name: string, holder: object): void {
  const subject = PREFIX + name.slice(0, name.indexOf("/") + 1);
  const isOther = (key: symbol) => {
    return key.description?.startsWith(subject) && key.description !== PREFIX + name;
  };
  if (warned || !Object.getOwnPropertySymbols(holder).some(isOther)) return;
  warned = true;
  runtime.warn(
    "Two versions of @aperture/atomic are loaded in this process. Their locks exclude each other, " +
      "but calls through different versions can run in any order. Make all packages depend on the " +
      "same version",
  );
}
