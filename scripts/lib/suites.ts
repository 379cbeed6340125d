import denoJson from "../../deno.json" with { type: "json" };
import { root } from "./setup.mjs";
import { filesOf } from "./trees.ts";

/** A run of a test runner. */
export interface Suite {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** More of the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * What Node before 20.4 needs in the tests, and in the processes that they start: a symbol for
 * their `using`, and no compiler thread that waits for the main thread while that one waits for
 * it, so that the process never ends: https://github.com/nodejs/node/issues/54918
 */
const OLD_NODE = "data:text/javascript," + encodeURIComponent(
  'import v8 from "node:v8"; v8.setFlagsFromString("--no-sparkplug"); ' +
    'for (const name of ["dispose", "asyncDispose"]) if (!(name in Symbol)) ' +
    "Object.defineProperty(Symbol, name, { value: Symbol(`Symbol.${name}`) });",
);

/** What a test runner says at its end. */
interface Result {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * The test files that the arguments name, as paths below `tests/` without `.ts`: a folder
 * (`lock`), a file (`lock/queue`) or a file name (`queue_test`). All files if there are no arguments.
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

/** The tests as Deno runs them; all of them with the examples of the modules. Their types are `deno task check`'s. */
export function denoSuite(
  version: string,
  command: string,
  imports: readonly string[],
  files?: readonly string[],
): Suite {
  // A command would run, and has no examples in TypeScript.
  const modules = Object.values(denoJson.exports).filter((file) =>
    file !== denoJson.exports["./cli"]
  );
  const what = files?.map((name) => `tests/${name}.ts`) ??
    ["--doc", "tests/", "scripts/lib/", ...modules];
  return {
    name: `Deno ${version}`,
    command,
    args: ["test", "-A", "--no-check", ...imports, ...what],
  };
}

/** The tests as Node runs them, as ES modules or as CommonJS. */
export function nodeSuite(
  kind: "ESM" | "CommonJS",
  version: string,
  command: string,
  files: readonly string[],
): Suite {
  const dir = kind === "ESM" ? "esm" : "script";
  return {
    name: `Node ${version}, ${kind}`,
    command,
    env: /^20\.[0-3]\./.test(version) ? { NODE_OPTIONS: `--import=${OLD_NODE}` } : {},
    args: [
      "--test",
      "--test-reporter=spec",
      ...files.map((name) => `npm_test/${dir}/tests/${name}.js`),
    ],
  };
}

/** The tests as Bun runs them. */
export function bunSuite(version: string, command: string, files: readonly string[]): Suite {
  // Its own limit of 5 s is too short for a test that starts a dozen processes on a busy machine.
  const args = [
    "test",
    "--timeout=120000",
    ...files.map((name) => `./npm_test/esm/tests/${name}.js`),
  ];
  return { name: `Bun ${version}, ESM`, command, args };
}

/** The package in npm/, packed and used. */
export function packageSuite(imports: readonly string[]): Suite {
  return scriptSuite("The packed package", imports, "scripts/smoke_npm.ts");
}

/** A script that ends as {@linkcode Checklist} does. */
export function scriptSuite(
  name: string,
  imports: readonly string[],
  script: string,
  ...args: string[]
): Suite {
  return { name, command: Deno.execPath(), args: ["run", "-A", ...imports, script, ...args] };
}

/** Runs the suites, a few at once, ends with a line that sums them up; the exit code. */
export async function runSuites(suites: readonly Suite[]): Promise<number> {
  const results: [string, Result][] = [];
  // One more than there are cores: much of their time they wait for child processes and timers.
  const atOnce = navigator.hardwareConcurrency + 1;
  const rest = suites.entries();
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (const [i, suite] of rest) results[i] = [suite.name, await run(suite)];
  }));
  console.log();
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const [name, result] of results) {
    const { passed, failed, skipped } = result;
    console.log(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
    for (const key of ["passed", "failed", "skipped"] as const) total[key] += result[key];
  }
  console.log(`${total.skipped} skipped`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 ? 0 : 1;
}

/** Runs a suite, and shows what it printed. What it leaves of temporary files is removed. */
async function run({ name, command, args, env = {} }: Suite): Promise<Result> {
  console.log(`${name} begins`);
  const started = performance.now();
  const temp = await Deno.makeTempDir({ prefix: "aperture-suite-" });
  await Deno.chmod(temp, 0o1777); // As /tmp is: some tests are other users.
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    cwd: root,
    env: { ...env, TMPDIR: temp, TEMP: temp, TMP: temp },
  }).output();
  await Deno.remove(temp, { recursive: true });
  const [output, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`\n=== ${name} (${seconds} s)\n${errors}${output}`);
  const result = counts(errors! + output!);
  // A runner that broke down, or ran no test, has failed, whatever it counted.
  if (result.failed === 0 && (!success || result.passed === 0)) result.failed = 1;
  return result;
}

/** What Deno, Node, Bun and {@linkcode Checklist} say at their end. */
function counts(output: string): Result {
  // deno-lint-ignore no-control-regex
  const plain = output.replace(/\x1b\[[0-9;]*m/g, "");
  const count = (pattern: RegExp) => {
    const found = [...plain.matchAll(pattern)].at(-1)?.slice(1).find((digits) => digits);
    return Number(found ?? 0);
  };
  return {
    passed: count(/\| (\d+) passed|^ℹ pass (\d+)|^ *(\d+) pass$|^(\d+) passed,/gm),
    failed: count(/\| (\d+) failed|^ℹ fail (\d+)|^ *(\d+) fail$|, (\d+) failed$/gm),
    skipped: count(/\| (\d+) ignored|^ℹ skipped (\d+)|^ *(\d+) skip$/gm),
  };
}
