import process from "node:process";

// Hides Symbol.dispose and Symbol.asyncDispose, which Node 20.0 to 20.3 and Jest 29 lack. The
// properties cannot be deleted, and a Proxy whose target is Symbol itself could not hide them.
// Tests import this file only so that it gets compiled; it does nothing outside a worker.
if (process.argv[2] === "aperture-worker") {
  const real = Symbol;
  const missing = (name: string | symbol) => name === "dispose" || name === "asyncDispose";
  globalThis.Symbol = new Proxy((() => {}) as unknown as SymbolConstructor, {
    apply: (_, __, [description]) => real(description),
    get: (_, name) => missing(name) ? undefined : Reflect.get(real, name),
    has: (_, name) => !missing(name) && Reflect.has(real, name),
  });
}
