import * as nodeModule from "node:module";
import process from "node:process";
import { isFile, stackFiles } from "../shared/stack_files.ts";

/** What is used of koffi, https://koffi.dev. */
export interface Koffi {
  load(library: string | null): Library;
  errno(): number;
}

/** A library that koffi has loaded. */
interface Library {
  func(prototype: string): (...args: unknown[]) => unknown;
}

/** Whether koffi is not there, rather than there and failing. */
function isMissing(error: unknown): boolean {
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
    if (!isFile(from)) continue;
    try {
      return nodeModule.createRequire(from)("koffi");
    } catch (error) {
      if (!isMissing(error)) throw notLoaded(error, files[0]);
      failure = error;
    }
  }
  throw notLoaded(failure, files[0]);
}

/** This file: by itself, and where scripts/lib/join.ts puts it in the npm package. */
const OWN_FILE = /[\\/](runtime[\\/]native[\\/]koffi\.[jt]s|(esm|script)[\\/]common\.js)$/;

/** One of four causes, and what can be done. */
function notLoaded(cause: unknown, file: string | undefined): Error {
  const { code, message } = cause as Error & { code?: unknown };
  let text: string;
  if (code === "ERR_DLOPEN_DISABLED" || code === "ERR_ACCESS_DENIED") {
    text = "Locks need the package koffi, which Node was told not to load: allow it with " +
      "--allow-addons and with --allow-fs-read for node_modules, or leave out --no-addons";
  } else if (!isMissing(cause)) {
    text = `Locks need the package koffi, which is there and cannot be loaded: ${message}`;
  } else if (file !== undefined && OWN_FILE.test(file)) {
    text = "Locks need the package koffi, which is not installed: npm install koffi";
  } else {
    text = `Locks need the package koffi, which is not found from the bundle '${file ?? "?"}': ` +
      "install koffi where the bundle runs, npm install koffi";
  }
  return Object.assign(new Error(text, { cause }), {
    code: isMissing(cause) ? "ERR_MODULE_NOT_FOUND" : code ?? "ERR_DLOPEN_FAILED",
  });
}
