/** Members of Error in V8 and JavaScriptCore that some versions of the type declarations lack. */
interface StackTraces {
  prepareStackTrace?: unknown;
  stackTraceLimit?: unknown;
}

/**
 * The files on the call stack, starting with the caller's. In a bundle, that is the bundle's file.
 */
export function stackFiles(): string[] {
  const traces: StackTraces = Error;
  const { prepareStackTrace, stackTraceLimit } = traces;
  try {
    traces.stackTraceLimit = 64;
    traces.prepareStackTrace = (_: unknown, sites: { getFileName(): unknown }[]) =>
      sites.slice(1).map((site) => site.getFileName());
    const names: unknown = new Error().stack;
    return Array.isArray(names) ? [...new Set(names)].filter(isFile) : [];
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

/** Whether a name is that of a file, rather than `node:fs`, `webpack-internal:///…` or the like. */
export function isFile(name: unknown): name is string {
  return typeof name === "string" && /^(file:\/\/|\/|\\\\|[a-z]:[\\/])/i.test(name);
}
