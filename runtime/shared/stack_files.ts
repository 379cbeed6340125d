/** What V8 and JavaScriptCore have of the call stack; not all versions of the types name it. */
interface StackTraces {
  prepareStackTrace?: unknown;
  stackTraceLimit?: unknown;
}

/** The files on the call stack, the caller's first; a bundle's when it is in a bundle. */
export function stackFiles(): string[] {
  const traces: StackTraces = Error;
  const { prepareStackTrace, stackTraceLimit } = traces;
  try {
    traces.stackTraceLimit = 64;
    traces.prepareStackTrace = (_: unknown, sites: { getFileName(): unknown }[]) =>
      sites.slice(1).map((site) => site.getFileName());
    const names: unknown = new Error().stack;
    return [...new Set(names as unknown[])].filter(isFile);
  } catch {
    return []; // `node --frozen-intrinsics`
  } finally {
    try {
      Object.assign(traces, { prepareStackTrace, stackTraceLimit });
    } catch {
      // Nothing was changed.
    }
  }
}

/** Not `node:fs`, `webpack-internal:///…` or `evalmachine.<anonymous>`. */
export function isFile(name: unknown): name is string {
  return typeof name === "string" && /^(file:\/\/|\/|\\\\|[a-z]:[\\/])/i.test(name);
}
