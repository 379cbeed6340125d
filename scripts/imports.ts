// Runs `deno SUBCOMMAND ARG...` with imports that can be had:
// deno run -A scripts/imports.ts SUBCOMMAND [ARG...]

import { fileURLToPath } from "node:url";
import { setUp } from "./setup.mjs";

const ANSWER = "APERTURE_IMPORT_MAP";

/**
 * Arguments that give `deno check`, `doc`, `run` and `test` imports that can be had: none where
 * JSR answers, which is found out by asking; elsewhere those that take all from npm. It asks
 * once: what is started from here finds the answer in the environment.
 */
export async function importArgs(): Promise<string[]> {
  let map = Deno.env.get(ANSWER);
  if (map === undefined) {
    const answers = await jsrAnswers();
    map = answers ? "" : fileURLToPath(new URL("npm_imports.json", import.meta.url));
    Deno.env.set(ANSWER, map);
    console.error(
      answers
        ? "JSR answers: imports as in deno.json."
        : "JSR does not answer: imports from npm, as in scripts/npm_imports.json.",
    );
    if (!answers) setUp();
  }
  return map === "" ? [] : ["--import-map", map];
}

async function jsrAnswers(): Promise<boolean> {
  try {
    const registry = Deno.env.get("JSR_URL") ?? "https://jsr.io";
    const response = await fetch(new URL("/@std/path/meta.json", registry), {
      signal: AbortSignal.timeout(5_000),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

/** Runs this Deno; returns its exit code. */
export async function deno(args: readonly string[]): Promise<number> {
  return (await new Deno.Command(Deno.execPath(), { args: [...args] }).spawn().status).code;
}

if (import.meta.main) {
  const [subcommand, ...rest] = Deno.args;
  if (subcommand === undefined) throw new Error("Name a subcommand of deno");
  Deno.exit(await deno([subcommand, ...await importArgs(), ...rest]));
}
