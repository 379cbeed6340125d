import { fileURLToPath } from "node:url";

/** The arguments, as JSON, for what is started from here. */
const ARGS = "APERTURE_DENO_ARGS";

/**
 * Arguments that give `deno check`, `run` and `test` imports that can be had: none where JSR
 * answers, which is found out by asking, once; elsewhere those that take all from npm.
 */
export async function importArgs(): Promise<string[]> {
  const known = Deno.env.get(ARGS);
  if (known !== undefined) return JSON.parse(known);
  const answers = await jsrAnswers();
  const map = fileURLToPath(new URL("npm_imports.json", import.meta.url));
  const args = answers ? [] : ["--import-map", map];
  Deno.env.set(ARGS, JSON.stringify(args));
  console.error(
    answers
      ? "JSR answers: imports as in deno.json."
      : "JSR does not answer: imports from npm, as in scripts/npm_imports.json.",
  );
  return args;
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
