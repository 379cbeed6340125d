import { pathToFileURL } from "node:url";
import denoJson from "../../deno.json" with { type: "json" };
import { root } from "./setup.mjs";
import { filesOf } from "./trees.ts";

/** The tests on one runtime, or a check script. */
export interface Suite {
  readonly name: string;
  /** The runtime under test; undefined for a script. */
  readonly runtime?: string;
  readonly command: string;
  /** The processes that run the suite: one per folder of tests, so that all cores have work. */
  readonly parts: readonly Part[];
  /** Additional environment variables. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One process of a suite. */
interface Part {
  /** The folder under `tests/`; empty if the suite has only one part. */
  readonly name: string;
  readonly args: readonly string[];
}

/**
 * The parts that take the longest. They start first, so that no part runs alone at the end. Scripts
 * come before all folders, because they cannot be divided.
 */
const LONGEST_FIRST = ["", "system", "JSDoc", "cli", "lock", "write"];

/**
 * What Node versions before 20.4 need in the tests and in the processes that they start: the
 * symbols for `using`, and a flag that disables Sparkplug, whose compiler thread can deadlock with
 * the main thread: https://github.com/nodejs/node/issues/54918
 */
const OLD_NODE = "data:text/javascript," + encodeURIComponent(
  'import v8 from "node:v8"; v8.setFlagsFromString("--no-sparkplug"); ' +
    'for (const name of ["dispose", "asyncDispose"]) if (!(name in Symbol)) ' +
    "Object.defineProperty(Symbol, name, { value: Symbol(`Symbol.${name}`) });",
);

/** Matches the lines in which Deno, Bun, Node and {@linkcode Checklist} report a failure. */
const FAILURE = /\bFAILED\b(?! \|)|^\(fail\)|^ *✖ (?!failing tests)/;

/** The number of tests with each outcome. */
export interface Result {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * Returns the test files that the arguments select, as paths under `tests/` without `.ts`. An
 * argument is a folder (`lock`), a file (`lock/queue`) or a file name (`queue_test`); without
 * arguments, all files are selected.
 */
export function testFiles(args: readonly string[]): string[] {
  const all = filesOf(`${root}/tests`).filter((name) => name.endsWith("_test.ts"))
    .map((name) => name.slice(0, -".ts".length)).sort();
  if (args.length === 0) return all;
  return [
    ...new Set(args.flatMap((arg) => {
      const name = arg.replace(/^tests\//, "").replace(/(_test)?(\.ts)?\/?$/, "");
      const found = all.filter((file) =>
        file.startsWith(`${name}/`) || file === `${name}_test` || file.endsWith(`/${name}_test`)
      );
      if (found.length === 0) throw new Error(`No test file matches '${arg}'`);
      return found;
    })),
  ];
}

/**
 * Returns the suite that runs the tests on Deno. Without `files`, the suite runs all tests and the
 * JSDoc examples. `deno task check` checks the types.
 */
export function denoSuite(
  version: string,
  command: string,
  imports: readonly string[],
  files?: readonly string[],
): Suite {
  // Exclude the command's module, because importing it would run the command.
  const modules = Object.values(denoJson.exports).filter((file) =>
    file !== denoJson.exports["./cli"]
  );
  const run = ["test", "-A", "--no-check", ...imports];
  const parts: Part[] = byFolder(files ?? testFiles([])).map(([name, names]) => {
    return { name, args: [...run, joinedForDeno(name, names)] };
  });
  if (files === undefined) {
    parts.push({ name: "JSDoc", args: [...run, "--doc", "scripts/lib/", ...modules] });
  }
  return { name: `Deno ${version}`, runtime: `Deno ${version}`, command, parts };
}

/**
 * Writes a module that imports a folder's test files, and returns its path. Deno starts a worker for
 * each file on its command line, which takes about a third of a second of CPU time.
 */
function joinedForDeno(folder: string, files: readonly string[]): string {
  // Not in npm_test/: deno.json excludes that directory.
  const dir = Deno.makeTempDirSync({ prefix: "aperture-tests-" });
  addEventListener("unload", () => Deno.removeSync(dir, { recursive: true }));
  const urls = files.map((file) => pathToFileURL(`${root}/tests/${file}.ts`));
  const entry = `${dir}/${folder}_test.ts`;
  Deno.writeTextFileSync(entry, urls.map(({ href }) => `import "${href}";\n`).join(""));
  return entry;
}

/** Returns the suite that runs the tests on Node, as ES modules or as CommonJS. */
export function nodeSuite(
  kind: "ESM" | "CommonJS",
  version: string,
  command: string,
  files: readonly string[],
): Suite {
  const dir = kind === "ESM" ? "esm" : "script";
  return {
    name: `Node ${version}, ${kind}`,
    runtime: `Node ${version}`,
    command,
    env: /^20\.[0-3]\./.test(version) ? { NODE_OPTIONS: `--import=${OLD_NODE}` } : {},
    parts: byFolder(files).map(([name, names]) => {
      const entry = joined(`npm_test/${dir}/tests`, name, names);
      return { name, args: ["--test", "--test-reporter=spec", entry] };
    }),
  };
}

function byFolder(files: readonly string[]): [folder: string, files: string[]][] {
  return [...Map.groupBy(files, (file) => file.split("/")[0]!)];
}

/**
 * Writes a module that imports a folder's test files; returns the module's path. Node starts a
 * process for each file on its command line, which takes about half a second of CPU time.
 */
function joined(dir: string, folder: string, files: readonly string[]): string {
  const entry = `${dir}/${folder}.js`;
  const load = (name: string) =>
    dir.includes("/esm/") ? `import "${name}";\n` : `require("${name}");\n`;
  const lines = files.map((file) => load(`./${file}.js`));
  Deno.writeTextFileSync(`${root}/${entry}`, lines.join(""));
  return entry;
}

/** Returns the suite that runs the tests on Bun. */
export function bunSuite(version: string, command: string, files: readonly string[]): Suite {
  const parts = byFolder(files).map(([name, names]) => {
    const paths = names.map((file) => `./npm_test/esm/tests/${file}.js`);
    // Each test sets its own timeout; Bun's default of 5 s does not apply.
    return { name, args: ["test", "--timeout=120000", ...paths] };
  });
  return { name: `Bun ${version}, ESM`, runtime: `Bun ${version}`, command, parts };
}

/** Packs npm/, then installs and uses the package. */
export function packageSuite(imports: readonly string[]): Suite {
  return scriptSuite("The packed package", imports, "scripts/smoke_npm.ts");
}

/**
 * Returns the suite that runs a script. The script must print its totals as {@linkcode Checklist}
 * does.
 */
export function scriptSuite(
  name: string,
  imports: readonly string[],
  script: string,
  ...args: string[]
): Suite {
  const part = { name: "", args: ["run", "-A", ...imports, script, ...args] };
  return { name, command: Deno.execPath(), parts: [part] };
}

/** How long a part of a suite may take before it is killed, in milliseconds. */
const PART_TIMEOUT_MS = 20 * 60_000;

/** Runs the parts of the suites, a few at a time, and prints a summary; returns the exit code. */
export async function runSuites(suites: readonly Suite[]): Promise<number> {
  const started = performance.now();
  const results: Result[] = suites.map(() => ({ passed: 0, failed: 0, skipped: 0 }));
  const rank = ({ name }: Part) => (LONGEST_FIRST.indexOf(name) + 1) || LONGEST_FIRST.length + 1;
  const parts = suites.flatMap((suite, i) => suite.parts.map((part) => ({ suite, part, i })))
    .sort((one, other) => rank(one.part) - rank(other.part));
  // Run one more part than there are cores, since tests often wait for child processes and timers.
  const concurrency = navigator.hardwareConcurrency + 1;
  const rest = parts.values();
  const failures: string[] = [];
  await Promise.all(Array.from({ length: concurrency }, async () => {
    for (const { suite, part, i } of rest) {
      const result = await run(suite, part, failures);
      for (const key of ["passed", "failed", "skipped"] as const) results[i]![key] += result[key];
    }
  }));
  // Repeat the failures at the end, since CI may keep only the last lines.
  for (const failure of new Set(failures)) console.log(failure);
  console.log();
  for (const [i, { name }] of suites.entries()) {
    const { passed, failed, skipped } = results[i]!;
    console.log(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  }
  const seconds = Math.round((performance.now() - started) / 1_000);
  console.log(`${summary(suites, results)} in ${seconds} s`);
  const [passed, failed] = [sum(results, "passed"), sum(results, "failed")];
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

/**
 * Summarizes how many tests there are and where they ran, so that readers need not add up the
 * runtimes' counts.
 */
function summary(suites: readonly Suite[], results: readonly Result[]): string {
  const runtimes = new Set(suites.flatMap(({ runtime }) => runtime ?? []));
  const sizes = results.map(({ passed, failed, skipped }) => passed + failed + skipped);
  const tests = Math.max(0, ...sizes.filter((_, i) => suites[i]!.runtime !== undefined));
  const failed = sum(results, "failed");
  const outcome = failed === 0 ? "all passed" : `${failed} failures`;
  const on = new Intl.ListFormat("en").format(runtimes);
  return runtimes.size === 0 ? outcome : `${tests} tests on ${on}: ${outcome}`;
}

function sum(results: readonly Result[], key: keyof Result): number {
  return results.reduce((total, result) => total + result[key], 0);
}

/**
 * Runs a part of a suite in its own temporary directory and prints its output. Adds the lines that
 * report a failure to `failures`.
 */
async function run(
  { name: suite, command, env = {} }: Suite,
  part: Part,
  failures: string[],
): Promise<Result> {
  const name = part.name === "" ? suite : `${suite}: ${part.name}`;
  console.log(`${name} begins`);
  const started = performance.now();
  const temp = await Deno.makeTempDir({ prefix: "aperture-suite-" });
  await Deno.chmod(temp, 0o1777); // Like /tmp, since some tests run as other users.
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...part.args],
    cwd: root,
    env: { ...env, TMPDIR: temp, TEMP: temp, TMP: temp },
    signal: AbortSignal.timeout(PART_TIMEOUT_MS),
  }).output();
  await Deno.remove(temp, { recursive: true });
  const [output, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  const seconds = ((performance.now() - started) / 1_000).toFixed(0);
  console.log(`\n=== ${name} (${seconds} s)\n${errors}${output}`);
  const result = counts(errors! + output!);
  // A runner that crashed or ran no tests has failed, regardless of its counts.
  const ran = result.passed + result.skipped > 0;
  if (result.failed === 0 && !(success && ran)) result.failed = 1;
  if (result.failed > 0) {
    const lines = plain(output! + errors!).split("\n").filter((line) => FAILURE.test(line));
    failures.push(...lines.map((line) => `${name}: ${line.trim()}`));
    if (lines.length === 0) failures.push(`${name}: failed without reporting a test`);
  }
  return result;
}

/** Parses the counts that Deno, Node, Bun and {@linkcode Checklist} print at the end. */
export function counts(output: string): Result {
  const text = plain(output);
  const count = (pattern: RegExp) => {
    const found = [...text.matchAll(pattern)].at(-1)?.slice(1).find((digits) => digits);
    return Number(found ?? 0);
  };
  return {
    passed: count(/\| (\d+) passed|^ℹ pass (\d+)|^ *(\d+) pass$|^(\d+) passed,/gm),
    failed: count(/\| (\d+) failed|^ℹ fail (\d+)|^ *(\d+) fail$|, (\d+) failed$/gm),
    skipped: count(/\| (\d+) ignored|^ℹ skipped (\d+)|^ *(\d+) skip$/gm),
  };
}

/** Returns the output without the escape sequences for colors. */
function plain(output: string): string {
  // deno-lint-ignore no-control-regex
  return output.replace(/\x1b\[[0-9;]*m/g, "");
}
