import * as fs from "node:fs";
import * as path from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import { root } from "./setup.mjs";
import { filesOf } from "./trees.ts";

/** The environment variable that passes these arguments to child processes as JSON. */
const ARGS = "APERTURE_DENO_ARGS";

/** The import map used when JSR is unreachable, written by {@linkcode importArgs}. */
const NPM_IMPORTS = `${root}/scripts/npm_imports.json`;

/**
 * Returns the arguments for `deno check`, `run` and `test` that make imports work: none if JSR is
 * reachable, or else an import map that takes everything from npm. Contacts JSR only once.
 */
export async function importArgs(): Promise<string[]> {
  const known = Deno.env.get(ARGS);
  if (known !== undefined) return JSON.parse(known);
  const answers = await jsrAnswers();
  if (!answers) writeNpmImports();
  const args = answers ? [] : ["--import-map", NPM_IMPORTS];
  Deno.env.set(ARGS, JSON.stringify(args));
  console.error(
    answers
      ? "JSR is reachable: importing as specified in deno.json."
      : "JSR is unreachable: importing from npm, as specified in scripts/npm_imports.json.",
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

function writeNpmImports(): void {
  const text = `${JSON.stringify({ imports: npmImports() }, undefined, 2)}\n`;
  // Do not write the file in place, because other tasks may be reading it.
  const temp = `${NPM_IMPORTS}.${crypto.randomUUID()}`;
  fs.writeFileSync(temp, text);
  fs.renameSync(temp, NPM_IMPORTS);
}

/** Returns an import map for the sources in `base` that resolves the standard library to `std`. */
export function npmImports(base = "..", std = "npm:deno-std@^1"): Record<string, string> {
  const imports = ownImports(base);
  for (const [name, target] of Object.entries(denoJson.imports)) {
    if (target.startsWith("npm:")) imports[name] = target;
  }
  for (const specifier of stdSpecifiers()) {
    const file = stdFile(specifier);
    imports[specifier] = file.startsWith("scripts/") ? `${base}/${file}` : `${std}/${file}`;
  }
  return imports;
}

/** The package's own specifiers, mapped to the sources in `base`. */
export function ownImports(base: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(denoJson.exports).map(([name, file]) => {
      return [denoJson.name + name.slice(1), `${base}/${file.slice(2)}`];
    }),
  );
}

/** Returns the standard library modules that sources and examples import. */
function stdSpecifiers(): Set<string> {
  const found = new Set<string>();
  const top = fs.readdirSync(root).filter((name) => /\.(ts|md)$/.test(name));
  const below = ["internal", "runtime", "tests", "prove", "examples", "docs"]
    .filter((dir) => fs.existsSync(path.join(root, dir)))
    .flatMap((dir) => filesOf(path.join(root, dir)).map((name) => `${dir}/${name}`));
  for (const name of [...top, ...below].filter((name) => /\.(ts|md)$/.test(name))) {
    const text = fs.readFileSync(path.join(root, name), "utf8");
    for (const [, specifier] of text.matchAll(/"(@std\/[a-z0-9/-]+)"/g)) found.add(specifier!);
  }
  return found;
}

/**
 * Returns the file in the npm package `deno-std` that provides a standard library module. For
 * `@std/fs/ensure-dir`, which `deno-std` lacks, returns the path of a replacement, relative to the
 * repository's root.
 */
export function stdFile(specifier: string): string {
  if (specifier === "@std/fs/ensure-dir") return "scripts/lib/ensure_dir.ts";
  const [, name, subpath] = specifier.split("/");
  return `${name}/${subpath?.replaceAll("-", "_") ?? "mod"}.js`;
}

/** Runs the current Deno executable; returns the exit code. */
export async function deno(args: readonly string[]): Promise<number> {
  return (await new Deno.Command(Deno.execPath(), { args: [...args] }).spawn().status).code;
}
