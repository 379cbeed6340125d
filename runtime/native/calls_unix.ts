import process from "node:process";
import type { Koffi } from "./koffi.ts";

/** Unix calls that Node and Bun do not offer. Each returns 0 or the error number. */
export interface UnixCalls {
  flock(descriptor: number, operation: number): number;
  /** `fcntl(2)` with a command that takes no argument. */
  fcntl(descriptor: number, command: number): number;
}

type NativeCall = (...args: unknown[]) => unknown;

/** Looks the calls up with koffi, in the libc that the program has already loaded, musl too. */
export function koffiCalls(koffi: Koffi): UnixCalls {
  const program = koffi.load(null);
  return unixCallsOf(
    program.func("int flock(int fd, int operation)"),
    program.func("int fcntl(int fd, int command)"),
    () => koffi.errno(),
  );
}

/**
 * The parts of `bun:ffi` and `node:ffi` that are used: https://bun.sh/docs/runtime/ffi and
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

type NativeCalls = Record<string, NativeCall>;

/**
 * Looks the calls up with the FFI that the runtime has built in: Bun's, or that of Node 26 and
 * newer. Both are experimental. Undefined where there is none.
 */
export function builtinCalls(
  ffi: BuiltinFfi | undefined = builtinFfi(),
  platform: string = process.platform,
): UnixCalls | undefined {
  if (ffi === undefined) return undefined;
  const errnoAt = platform === "darwin" || platform === "freebsd" ? "__error" : "__errno_location";
  const functions = {
    flock: signature(["i32", "i32"], "i32"),
    fcntl: signature(["i32", "i32"], "i32"),
    [errnoAt]: signature([], "pointer"),
  };
  // Bun cannot search the program itself.
  const libraries = ffi.read === undefined ? [null] : librariesOf(platform);
  const opened = firstOf(libraries, (name) => ffi.dlopen(name, functions));
  const calls = (opened.symbols ?? opened.functions)!;
  const readInt32 = (pointer: unknown) => ffi.read?.i32(pointer, 0) ?? ffi.getInt32!(pointer, 0);
  return unixCallsOf(calls.flock!, calls.fcntl!, () => readInt32(calls[errnoAt]!()));
}

function unixCallsOf(flock: NativeCall, fcntl: NativeCall, errno: () => number): UnixCalls {
  const call = (of: NativeCall) => (descriptor: number, argument: number) =>
    of(descriptor, argument) === -1 ? errno() : 0;
  return { flock: call(flock), fcntl: call(fcntl) };
}

/** Node's `import` of its FFI succeeds even where its use is forbidden. */
function builtinFfi(): BuiltinFfi | undefined {
  if (process.platform === "win32") return undefined;
  const { getBuiltinModule } = process as { getBuiltinModule?: (name: string) => unknown };
  return (getBuiltinModule?.("bun:ffi") ?? getBuiltinModule?.("node:ffi")) as
    | BuiltinFfi
    | undefined;
}

/** A function's parameters and result, named as Bun and as Node name them. */
function signature(parameters: string[], result: string): object {
  return { args: parameters, returns: result, arguments: parameters, return: result };
}

/** The names that libc may have, musl's last. */
function librariesOf(platform: string): readonly string[] {
  if (platform === "darwin") return ["libSystem.B.dylib"];
  if (platform === "freebsd") return ["libc.so.7"];
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  return ["libc.so.6", `libc.musl-${machine}.so.1`];
}

/** The result of the first `fn(name)` that does not throw; if all do, the last error. */
function firstOf<N, T>(names: readonly N[], fn: (name: N) => T): T {
  const [name, ...others] = names;
  try {
    return fn(name!);
  } catch (error) {
    if (others.length === 0) throw error;
    return firstOf(others, fn);
  }
}
