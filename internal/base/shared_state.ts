import { runtime } from "../../runtime/mod.ts";

const PREFIX = "@aperture/atomic/";

/**
 * State shared by all copies of this module in one program: the ES module and the CommonJS one, or
 * a second installation of the same version. Each thread and realm has its own state.
 *
 * @param name The state's name, and a number that is incremented whenever its shape changes.
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

/**
 * Warns once if another version of the library is loaded whose form of this state is incompatible.
 */
function warnOfOtherVersion(name: string, holder: object): void {
  const subject = PREFIX + name.slice(0, name.indexOf("/") + 1);
  const isOther = (key: symbol) => {
    return key.description?.startsWith(subject) && key.description !== PREFIX + name;
  };
  if (warned || !Object.getOwnPropertySymbols(holder).some(isOther)) return;
  warned = true;
  runtime.warn(
    "Two versions of @aperture/atomic are loaded in this program. They exclude each other by " +
      "locks, but do not keep the order of each other's calls. Make all packages depend on the " +
      "same version",
  );
}
