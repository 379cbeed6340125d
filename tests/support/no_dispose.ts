import process from "node:process";

// As in Node 20.0 to 20.3 and in Jest 29. The properties cannot be deleted; what a program sees of
// them can. Only in a worker: a test imports this to have it built along.
if (process.argv[2] === "aperture-worker") {
  globalThis.Symbol = new Proxy(Symbol, {
    get: (symbol, name) => {
      if (name === "dispose" || name === "asyncDispose") return undefined;
      return Reflect.get(symbol, name);
    },
  });
}
