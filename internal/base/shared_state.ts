/**
 * State that all copies of this module in one program share: the ES module and the CommonJS one, or
 * a second installation of the same version. Threads and realms have their own.
 *
 * @param name What it is, with a number that grows with every change of its shape.
 * @param make Creates the state for the first copy that asks.
 */
export function sharedState<T>(name: string, make: () => T): () => T {
  const key = Symbol.for(`@aperture/atomic/${name}`);
  let state: T | undefined;
  return () => {
    // dnt-shim-ignore
    const holder = globalThis as { [key: symbol]: T | undefined };
    return state ??= holder[key] ??= make();
  };
}
