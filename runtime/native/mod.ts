import process from "node:process";
import { loadKoffi } from "./koffi.ts";
import { builtinCalls, koffiCalls, type UnixCalls } from "./calls_unix.ts";
import { type WindowsCalls, windowsCalls as callsOfWindows } from "./calls_windows.ts";

let unix: UnixCalls | undefined;
let windows: WindowsCalls | undefined;

/**
 * The calls through FFI: koffi's, or where koffi is missing those of `bun:ffi` or `node:ffi`. The
 * first call loads the FFI.
 */
export function unixCalls(): UnixCalls {
  if (unix !== undefined) return unix;
  try {
    return unix = koffiCalls(loadKoffi());
  } catch (error) {
    return unix = callsWithoutKoffi(error as Error);
  }
}

/** {@linkcode unixCalls} for callers that can do without. */
export function unixCallsIfAny(): UnixCalls | undefined {
  try {
    return unixCalls();
  } catch {
    return undefined;
  }
}

function callsWithoutKoffi(koffiError: Error): UnixCalls {
  try {
    const calls = builtinCalls();
    if (calls !== undefined) return calls;
  } catch (error) {
    koffiError.message += `. The FFI of the runtime cannot be used either: ${error}`;
  }
  throw koffiError;
}

/** Like {@linkcode unixCalls}, on Windows; only koffi has them. */
export function windowsCalls(): WindowsCalls {
  return windows ??= callsOfWindows(loadKoffi());
}

/** {@linkcode windowsCalls} if a lock has already loaded them. */
export function loadedWindowsCalls(): WindowsCalls | undefined {
  return process.platform === "win32" ? windows : undefined;
}
