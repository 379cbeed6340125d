import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isDeno } from "./test.ts";

type Library = typeof import("../../mod.ts");

/** Why {@linkcode otherCopy} does not work here. */
export const noOtherCopy: string | false = !isDeno && !import.meta.url.includes("/esm/") &&
  "the tests of the ES modules load both kinds";

/**
 * Loads a second copy of the library into this process: on Node and Bun, the CommonJS build
 * alongside the ES modules; on Deno, a copy of the sources that it creates in `dir`.
 */
export function otherCopy(dir: string): Promise<Library> {
  if (!isDeno) {
    return Promise.resolve(createRequire(import.meta.url)("../../../script/mod.js"));
  }
  const root = fileURLToPath(new URL("../../", import.meta.url));
  for (const entry of fs.readdirSync(root)) {
    if (!entry.endsWith(".ts") && entry !== "internal" && entry !== "runtime") continue;
    fs.cpSync(path.join(root, entry), path.join(dir, entry), { recursive: true });
  }
  return import(pathToFileURL(path.join(dir, "mod.ts")).href);
}
