import process from "node:process";
import { loadKoffi } from "./koffi.ts";
import { bunCalls, koffiCalls, type UnixCalls } from "./calls_unix.ts";
import { type WindowsCalls, windowsCalls as callsOfWindows } from "./calls_windows.ts";

let unix: UnixCalls | null | undefined;
let windows: WindowsCalls | undefined;

/**
 * The calls that come by FFI, which is loaded by the first of them: koffi, and where that is not
 * there on Bun, bun:ffi.
 */
export function unixCalls(): UnixCalls {
  if (unix) return unix;
  try {
    return unix = koffiCalls(loadKoffi());
  } catch (error) {
    const calls = bunCallsIfAny();
    if (calls === undefined) throw error;
    return unix = calls;
  }
}

/** {@linkcode unixCalls} for who can do without; what cannot be loaded is not tried again. */
export function unixCallsIfAny(): UnixCalls | undefined {
  if (unix === undefined) {
    try {
      unix = unixCalls();
    } catch {
      unix = null;
    }
  }
  return unix ?? undefined;
}

function bunCallsIfAny(): UnixCalls | undefined {
  try {
    return bunCalls();
  } catch {
    return undefined; // Why koffi cannot be loaded is of more use to who reads the error.
  }
}

/** As {@linkcode unixCalls}, on Windows. */
export function windowsCalls(): WindowsCalls {
  return windows ??= callsOfWindows(loadKoffi());
}

/** {@linkcode windowsCalls} if something has loaded them. */
export function loadedWindowsCalls(): WindowsCalls | undefined {
  return process.platform === "win32" ? windows : undefined;
}
