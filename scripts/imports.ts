/** Where the imports that deno.json takes from JSR are to come from. */
export interface Imports {
  /** Arguments for `deno check`, `run`, `test` and `doc`. */
  readonly args: readonly string[];
  /** Whether JSR answers. */
  readonly jsr: boolean;
}

const ANSWER = "APERTURE_JSR";

/**
 * Asks once, by a request, whether JSR answers; where it does not, the imports come from
 * npm. Scripts started by this one do not ask again.
 */
export async function findImports(): Promise<Imports> {
  let answer = Deno.env.get(ANSWER);
  if (answer === undefined) {
    answer = await jsrAnswers() ? "yes" : "no";
    Deno.env.set(ANSWER, answer);
    console.error(
      answer === "yes"
        ? "JSR answers: imports as in deno.json."
        : "JSR does not answer: imports from npm, as in scripts/npm_imports.json.",
    );
  }
  const jsr = answer === "yes";
  return { jsr, args: jsr ? [] : ["--import-map", fromHere("npm_imports.json")] };
}

async function jsrAnswers(): Promise<boolean> {
  const registry = Deno.env.get("JSR_URL") ?? "https://jsr.io";
  try {
    const response = await fetch(new URL("/@std/path/meta.json", registry), {
      signal: AbortSignal.timeout(5_000),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

/** The path of a file in this directory. */
function fromHere(name: string): string {
  return decodeURIComponent(new URL(name, import.meta.url).pathname);
}

/** Runs Deno with these arguments; returns its exit code. */
export async function deno(...args: readonly string[]): Promise<number> {
  const { code } = await new Deno.Command(Deno.execPath(), { args: [...args] }).spawn().status;
  return code;
}
