import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { importArgs } from "../scripts/lib/imports.ts";
import { filesOf } from "../scripts/lib/trees.ts";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(here);
/** The peers' package.json, kept away from the sources so that Deno does not apply it to them. */
const tools = path.join(here, "tools");
/** The compiled files, for Node and Bun. */
const build = path.join(tools, "node_modules", ".build");

/** A runtime that takes part in the benchmark. */
export interface Runtime {
  readonly id: "deno" | "node" | "bun";
  readonly name: string;
  /** The command that runs the worker. */
  readonly command: readonly string[];
  /** The URL of the module under test. */
  readonly library: string;
  /** The flag that lets a program trigger garbage collection. */
  readonly exposeGc: readonly string[];
}

/** Installs the peers from npm, unless the versions in package.json are already installed. */
export function installPeers(): void {
  const wanted = fs.readFileSync(path.join(tools, "package.json"), "utf8");
  const stamp = path.join(tools, "node_modules", ".installed");
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === wanted) return;
  must("npm", [
    "install",
    "--no-save",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
  ], tools);
  fs.writeFileSync(stamp, wanted);
}

/** Returns the requested runtimes that are installed. */
export async function runtimes(wanted: readonly string[]): Promise<Runtime[]> {
  const found: Runtime[] = [];
  if (wanted.includes("deno")) {
    found.push({
      id: "deno",
      name: `Deno ${Deno.version.deno}`,
      command: [
        Deno.execPath(),
        "run",
        "-A",
        "--quiet",
        ...await importArgs(),
        path.join(here, "worker.ts"),
      ],
      library: new URL("../mod.ts", import.meta.url).href,
      exposeGc: ["--v8-flags=--expose-gc"],
    });
  }
  const built = ["node", "bun"].filter((id) => wanted.includes(id));
  if (built.length === 0) return found;
  buildPackage();
  const worker = buildWorker();
  for (const id of built as ("node" | "bun")[]) {
    const command = id === "node" ? process.env.APERTURE_NODE ?? "node" : bun();
    const { status, stdout } = spawnSync(command, ["--version"], {
      encoding: "utf8",
    });
    const title = id === "node" ? "Node" : "Bun";
    if (status !== 0) {
      console.log(`${title} is not installed: skipped`);
      continue;
    }
    found.push({
      id,
      name: `${title} ${stdout.trim().replace(/^v/, "")}`,
      command: [command, worker],
      library: new URL("../npm/esm/mod.js", import.meta.url).href,
      exposeGc: id === "node" ? ["--expose-gc"] : [],
    });
  }
  return found;
}

/** The toolchain's Bun, or else Bun from PATH. */
function bun(): string {
  const own = path.join(
    root,
    "scripts",
    "tools",
    "node_modules",
    ".bin",
    "bun",
  );
  return process.env.APERTURE_BUN ?? (fs.existsSync(own) ? own : "bun");
}

/** Builds npm/ unless it is newer than its sources. */
function buildPackage(): void {
  const library = path.join(root, "npm", "esm", "mod.js");
  const sources = ["internal", "runtime"]
    .flatMap((dir) => filesOf(path.join(root, dir)).map((name) => path.join(root, dir, name)))
    .concat(fs.readdirSync(root).map((name) => path.join(root, name)))
    .filter((file) => file.endsWith(".ts") || file.endsWith("deno.json"));
  const newest = Math.max(...sources.map((file) => fs.statSync(file).mtimeMs));
  if (fs.existsSync(library) && fs.statSync(library).mtimeMs > newest) return;
  must(Deno.execPath(), ["task", "--quiet", "build:npm"], root);
}

/**
 * Compiles the worker to JavaScript, since Node 20 cannot strip types; returns the output's path.
 */
function buildWorker(): string {
  fs.mkdirSync(build, { recursive: true });
  fs.writeFileSync(path.join(build, "package.json"), '{ "type": "module" }');
  for (
    const name of fs.readdirSync(here).filter((name) => name.endsWith(".ts"))
  ) {
    const { outputText } = ts.transpileModule(
      fs.readFileSync(path.join(here, name), "utf8"),
      {
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.ESNext,
          rewriteRelativeImportExtensions: true,
        },
      },
    );
    fs.writeFileSync(
      path.join(build, name.replace(/\.ts$/, ".js")),
      outputText,
    );
  }
  return path.join(build, "worker.js");
}

/**
 * Compiles the C program that the contention rows are compared with; returns undefined if there is
 * no compiler.
 */
export function compileFlock(dir: string): string | undefined {
  const program = path.join(dir, "flock");
  const args = ["-O2", "-o", program, path.join(here, "flock.c")];
  return spawnSync("cc", args, { stdio: "inherit" }).status === 0 ? program : undefined;
}

function must(command: string, args: string[], cwd: string): void {
  const { status, error } = spawnSync(command, args, {
    cwd,
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (error !== undefined || status !== 0) {
    throw new Error(`${command} ${args.join(" ")} failed`, { cause: error });
  }
}
