import process from "node:process";

// As in Node 20.0 to 20.3 and in Jest 29. The properties cannot be deleted, and a Proxy for Symbol
// would have to report them. Done only in a worker, because a test imports this file to have it
// compiled.
if (process.argv[2] === "aperture-worker") {
  const real = Symbol;
  const missing = (name: string | symbol) => name === "dispose" || name === "asyncDispose";
  globalThis.Symbol = new Proxy((() => {}) as unknown as SymbolConstructor, {
    apply: (_, __, [description]) => real(description),
    get: (_, name) => missing(name) ? undefined : Reflect.get(real, name),
    has: (_, name) => !missing(name) && Reflect.has(real, name),
  });
}
