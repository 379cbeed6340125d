import * as nodeModule from "node:module";
import process from "node:process";

/** What is used of koffi, https://koffi.dev. */
export interface Koffi {
  load(library: string | null): Library;
  struct(members: Record<string, unknown>): unknown;
  struct(name: string, members: Record<string, unknown>): unknown;
  inout(type: unknown): unknown;
  out(type: unknown): unknown;
  pointer(type: unknown): unknown;
  errno(): number;
}

/** A library that koffi has loaded. */
export interface Library {
  func(prototype: string): (...args: unknown[]) => unknown;
  func(
    convention: string,
    name: string,
    result: unknown,
    args: unknown[],
  ): (...args: unknown[]) => unknown;
}

/** Whether koffi is not there, rather than there and failing. */
export function isMissing(error: unknown): boolean {
  return (error as { code?: unknown })?.code === "MODULE_NOT_FOUND";
}

/**
 * Loads koffi, from where the file that this code is in would find it. The call stack tells which
 * file that is: the module's own URL is empty in a CommonJS bundle, and `require` is missing in an
 * ES module. A literal `require("koffi")` would have bundlers take in an addon that they cannot
 * carry.
 */
export function loadKoffi(): Koffi {
  const files = stackFiles();
  let failure: unknown;
  // After the bundle itself: the program, and a single executable.
  for (const from of [...files, process.argv[1], process.execPath]) {
    if (from === undefined || !isFile(from)) continue;
    try {
      return nodeModule.createRequire(from)("koffi");
    } catch (error) {
      if (!isMissing(error)) throw notLoaded(error, files[0]);
      failure = error;
    }
  }
  const builtIn = bunFfi();
  // Not on Windows, which alone needs more than these two.
  if (builtIn !== undefined) return builtIn as Koffi;
  throw notLoaded(failure, files[0]);
}

/**
 * Bun's own FFI, https://bun.com/docs/runtime/ffi, for functions that take and give ints. It is
 * what an executable of `bun build --compile` has; elsewhere koffi goes first, since Bun calls its
 * own experimental.
 */
function bunFfi(): Pick<Koffi, "load" | "errno"> | undefined {
  if (process.versions.bun === undefined || process.platform === "win32") return undefined;
  const { dlopen, read } = nodeModule.createRequire(process.execPath)("bun:ffi");
  const macOs = process.platform === "darwin";
  const errno = macOs ? "__error" : "__errno_location";
  const names = macOs ? ["libSystem.B.dylib"] : ["libc.so.6", `libc.musl-${muslArch()}.so.1`];
  for (const name of names) {
    try {
      const { symbols } = dlopen(name, { [errno]: { args: [], returns: "ptr" } });
      return {
        load: () => ({
          func(prototype: string) {
            const [, called, parameters] = /(\w+)\((.*)\)$/.exec(prototype)!;
            const args = parameters!.split(",").map(() => "i32");
            return dlopen(name, { [called!]: { args, returns: "i32" } }).symbols[called!];
          },
        }),
        errno: () => read.i32(symbols[errno](), 0),
      };
    } catch {
      // It is the other library that is there.
    }
  }
  return undefined;
}

function muslArch(): string {
  return process.arch === "arm64" ? "aarch64" : "x86_64";
}

/** The files on the call stack, this one first; a bundle's when it is in a bundle. */
function stackFiles(): string[] {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = 64;
    Error.prepareStackTrace = (_, sites) => sites.map((site) => site.getFileName());
    const names = new Error().stack as unknown as (string | null | undefined)[];
    return [...new Set(names)].filter((name) => name != null && isFile(name)) as string[];
  } catch {
    return []; // `node --frozen-intrinsics`
  } finally {
    try {
      Object.assign(Error, { prepareStackTrace, stackTraceLimit });
    } catch {
      // Nothing was changed.
    }
  }
}

/** Not `node:fs`, `webpack-internal:///…` or `evalmachine.<anonymous>`. */
function isFile(name: string): boolean {
  return /^(file:\/\/|\/|\\\\|[a-z]:[\\/])/i.test(name);
}

/** One of four causes, and what can be done. */
function notLoaded(cause: unknown, file: string | undefined): Error {
  const { code, message } = cause as Error & { code?: unknown };
  let text: string;
  if (code === "ERR_DLOPEN_DISABLED" || code === "ERR_ACCESS_DENIED") {
    text = "Locks need the package koffi, which Node was told not to load: allow it with " +
      "--allow-addons and with --allow-fs-read for node_modules, or leave out --no-addons";
  } else if (!isMissing(cause)) {
    text = `Locks need the package koffi, which is there and cannot be loaded: ${message}`;
  } else if (file !== undefined && /[\\/]runtime[\\/]koffi\.[jt]s$/.test(file)) {
    text = "Locks need the package koffi, which is not installed: npm install koffi";
  } else {
    text = `Locks need the package koffi, which is not found from the bundle '${file ?? "?"}': ` +
      "install koffi where the bundle runs, npm install koffi";
  }
  return Object.assign(new Error(text, { cause }), {
    code: isMissing(cause) ? "ERR_MODULE_NOT_FOUND" : code ?? "ERR_DLOPEN_FAILED",
  });
}
