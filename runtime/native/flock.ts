import process from "node:process";
import { type Koffi, loadKoffi } from "./koffi.ts";

/** `flock(2)`, which Node and Bun do not provide. Returns 0 or the error number. */
export type Flock = (descriptor: number, operation: number) => number;

/** Loads flock(2) with koffi or, if koffi cannot be loaded, with `bun:ffi` or `node:ffi`. */
export function loadFlock(): Flock {
  let koffiError: Error;
  try {
    return koffiFlock(loadKoffi());
  } catch (error) {
    koffiError = error as Error;
  }
  try {
    const flock = builtinFlock();
    if (flock !== undefined) return flock;
  } catch (error) {
    koffiError.message += `. The runtime's built-in FFI cannot be used either: ${error}`;
  }
  throw koffiError;
}

/** Finds flock(2) in the libc that the program has already loaded, whether glibc or musl. */
function koffiFlock(koffi: Koffi): Flock {
  const flock = koffi.load(null).func("int flock(int fd, int operation)");
  return (...args) => flock(...args) === -1 ? koffi.errno() : 0;
}

/**
 * The parts of `bun:ffi` and `node:ffi` that this module uses: https://bun.sh/docs/runtime/ffi and
 * https://nodejs.org/api/ffi.html.
 */
interface BuiltinFfi {
  dlopen(
    library: string | null,
    functions: Record<string, object>,
  ): { readonly symbols?: NativeCalls; readonly functions?: NativeCalls };
  /** Bun's. */
  readonly read?: { i32(pointer: unknown, offset: number): number };
  /** Node's. */
  getInt32?(pointer: unknown, offset: number): number;
}

type NativeCalls = Record<string, (...args: unknown[]) => unknown>;

/**
 * Loads flock(2) with the built-in FFI of Bun or of Node 26 and newer. Both are experimental.
 * Returns undefined if the runtime has no FFI.
 */
export function builtinFlock(
  ffi: BuiltinFfi | undefined = builtinFfi(),
  platform: string = process.platform,
): Flock | undefined {
  if (ffi === undefined) return undefined;
  const errnoAt = platform === "darwin" || platform === "freebsd" ? "__error" : "__errno_location";
  const libc = openLibc(ffi, platform, {
    flock: signature(["i32", "i32"], "i32"),
    [errnoAt]: signature([], "pointer"),
  });
  const calls = (libc.symbols ?? libc.functions)!;
  const readInt32 = (pointer: unknown) => ffi.read?.i32(pointer, 0) ?? ffi.getInt32!(pointer, 0);
  return (...args) => calls.flock!(...args) === -1 ? readInt32(calls[errnoAt]!()) : 0;
}

/** The runtime's FFI. On Node, it is defined even if permissions forbid its use. */
function builtinFfi(): BuiltinFfi | undefined {
  if (process.platform === "win32") return undefined;
  const { getBuiltinModule } = process as { getBuiltinModule?: (name: string) => unknown };
  return (getBuiltinModule?.("bun:ffi") ?? getBuiltinModule?.("node:ffi")) as
    | BuiltinFfi
    | undefined;
}

/**
 * Node can search the libraries that are already loaded. Bun cannot, so try the possible file names
 * of libc.
 */
function openLibc(ffi: BuiltinFfi, platform: string, functions: Record<string, object>) {
  if (ffi.read === undefined) return ffi.dlopen(null, functions);
  if (platform === "darwin") return ffi.dlopen("libSystem.B.dylib", functions);
  try {
    return ffi.dlopen("libc.so.6", functions);
  } catch {
    const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
    return ffi.dlopen(`libc.musl-${machine}.so.1`, functions);
  }
}

/** A function's parameters and result, under both Bun's and Node's property names. */
function signature(parameters: string[], result: string): object {
  return { args: parameters, returns: result, arguments: parameters, return: result };
}
