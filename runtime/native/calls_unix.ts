import process from "node:process";
import type { Koffi } from "./koffi.ts";

/** The calls of Unix that Node and Bun have no own of: 0, or the error number. */
export interface UnixCalls {
  flock(descriptor: number, operation: number): number;
  /** `fcntl(2)` with a command that takes no argument. */
  fcntl(descriptor: number, command: number): number;
}

/** Finds the calls by koffi, in what the program has loaded already: any libc, musl too. */
export function koffiCalls(koffi: Koffi): UnixCalls {
  const program = koffi.load(null);
  const call = (prototype: string) => {
    const found = program.func(prototype);
    return (descriptor: number, argument: number) =>
      found(descriptor, argument) === -1 ? koffi.errno() : 0;
  };
  return {
    flock: call("int flock(int fd, int operation)"),
    fcntl: call("int fcntl(int fd, int command)"),
  };
}

/** What is used of bun:ffi, https://bun.sh/docs/runtime/ffi. */
interface BunFfi {
  dlopen(
    library: string,
    functions: Record<string, { args: readonly string[]; returns: string }>,
  ): { symbols: Record<string, (...args: unknown[]) => number> };
  read: { i32(pointer: number, offset: number): number };
}

/** Finds the calls by bun:ffi, which is built in, but experimental; undefined if not on Bun. */
export function bunCalls(
  ffi: BunFfi | undefined = bunFfi(),
  platform: string = process.platform,
): UnixCalls | undefined {
  if (ffi === undefined || platform === "win32") return undefined;
  const errnoAt = platform === "darwin" || platform === "freebsd" ? "__error" : "__errno_location";
  const functions = {
    flock: { args: ["i32", "i32"], returns: "i32" },
    fcntl: { args: ["i32", "i32"], returns: "i32" },
    [errnoAt]: { args: [], returns: "ptr" },
  };
  const { symbols } = firstOf(librariesOf(platform), (name) => ffi.dlopen(name, functions));
  const call = (name: "flock" | "fcntl") => (descriptor: number, command: number) =>
    symbols[name]!(descriptor, command) === -1 ? ffi.read.i32(symbols[errnoAt]!(), 0) : 0;
  return { flock: call("flock"), fcntl: call("fcntl") };
}

function bunFfi(): BunFfi | undefined {
  // dnt-shim-ignore
  if (!("Bun" in globalThis)) return undefined;
  return (process as { getBuiltinModule?: (name: string) => unknown })
    .getBuiltinModule?.("bun:ffi") as BunFfi | undefined;
}

/** The names that libc may have, musl's last. */
function librariesOf(platform: string): readonly string[] {
  if (platform === "darwin") return ["libSystem.B.dylib"];
  if (platform === "freebsd") return ["libc.so.7"];
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  return ["libc.so.6", `libc.musl-${machine}.so.1`];
}

/** The result of the first of `names` that `fn` can do with; the error of the last if none. */
function firstOf<T>(names: readonly string[], fn: (name: string) => T): T {
  const [name, ...others] = names;
  try {
    return fn(name!);
  } catch (error) {
    if (others.length === 0) throw error;
    return firstOf(others, fn);
  }
}
