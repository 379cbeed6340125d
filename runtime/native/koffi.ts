import * as nodeModule from "node:module";
import process from "node:process";
import { isFile, stackFiles } from "../shared/stack_files.ts";

/** The parts of koffi that this module uses: https://koffi.dev. */
export interface Koffi {
  load(library: string | null): Library;
  errno(): number;
}

/** A library loaded by koffi. */
interface Library {
  func(prototype: string): (...args: unknown[]) => unknown;
}

/** Whether koffi is not installed, as opposed to installed but broken. */
function isMissing(error: unknown): boolean {
  return (error as { code?: unknown })?.code === "MODULE_NOT_FOUND";
}

/**
 * Loads koffi, resolved from the file that contains this code. That file is found on the call
 * stack, because a module's URL is empty in a CommonJS bundle and `require` is undefined in an ES
 * module. A literal `require("koffi")` would make bundlers include an addon that they cannot
 * bundle.
 */
export function loadKoffi(): Koffi {
  const files = stackFiles();
  let failure: unknown;
  // After the files on the stack, such as a bundle, try the program's main file and the executable
  // itself.
  for (const from of [...files, process.argv[1], process.execPath]) {
    if (!isFile(from)) continue;
    try {
      const koffi = nodeModule.createRequire(from)("koffi");
      if (typeof koffi?.load === "function") return koffi;
      throw new Error("it does not export load()");
    } catch (error) {
      if (!isMissing(error)) throw notLoaded(error, files[0]);
      failure = error;
    }
  }
  throw notLoaded(failure, files[0]);
}

/**
 * The path of this file, or of the npm package's file into which scripts/lib/join.ts bundles it.
 */
const OWN_FILE = /[\\/](runtime[\\/]native[\\/]koffi\.[jt]s|(esm|script)[\\/]common\.js)$/;

/** Creates the error. Its message names one of four causes and says what to do about it. */
function notLoaded(cause: unknown, file: string | undefined): Error {
  const { code, message = String(cause) } = Object(cause) as Error & { code?: unknown };
  let why: string;
  if (code === "ERR_DLOPEN_DISABLED" || code === "ERR_ACCESS_DENIED") {
    why = "which Node is not allowed to load: pass --allow-addons and an --allow-fs-read that " +
      "includes node_modules, or omit --no-addons";
  } else if (!isMissing(cause)) {
    why = `which is installed but cannot be loaded: ${message}`;
  } else if (file !== undefined && OWN_FILE.test(file)) {
    why = "which is not installed: run npm install koffi";
  } else {
    why = `which was not found from the bundle '${file ?? "?"}': run npm install koffi where the ` +
      "bundle runs";
  }
  return Object.assign(
    new Error(`Locking requires the package koffi, ${why}`, { cause }),
    { code: isMissing(cause) ? "ERR_MODULE_NOT_FOUND" : code ?? "ERR_DLOPEN_FAILED" },
  );
}
