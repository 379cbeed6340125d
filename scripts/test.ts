// Runs all tests on all runtimes that there are: deno task test [--matrix]
// Ends with a line that sums them up.

import denoJson from "../deno.json" with { type: "json" };
import { buildPackage, bun, must, version } from "./commands.ts";
import { importArgs } from "./imports.ts";
import { root } from "./setup.mjs";

interface Suite {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

/** What a test runner says at its end. */
interface Result {
  passed: number;
  failed: number;
  skipped: number;
}

const NODE_VERSIONS = [20, 22, 24, 26];
const DENO_VERSIONS = ["2.7.1"];

const imports = await importArgs();
const windows = Deno.build.os === "windows";

const suites: Suite[] = [denoSuite(Deno.version.deno, Deno.execPath())];
if (await buildPackage(imports, "--test")) {
  suites.push(
    ...nodeSuites(await version("node"), "node"),
    { name: `Bun ${await version(bun)}, ESM`, command: bun, args: ["test", "npm/esm/tests"] },
    {
      name: "The packed package",
      command: Deno.execPath(),
      args: ["run", "-A", ...imports, "scripts/smoke_npm.ts"],
    },
  );
  if (Deno.args.includes("--matrix")) suites.push(...await matrix());
} else {
  console.log("There is no Node and npm: the npm package is not tested.");
}

suites.push({
  name: "The proof, in short",
  command: Deno.execPath(),
  args: ["run", "-A", ...imports, "prove/main.ts", "--short"],
});

const results: [string, Result][] = [];
for (const suite of suites) results.push([suite.name, await run(suite)]);
console.log();
for (const [name, result] of results) console.log(`${name}: ${line(result)}`);
const total = { passed: 0, failed: 0, skipped: 0 };
for (const [, { passed, failed, skipped }] of results) {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}
console.log(line(total));
Deno.exit(total.failed === 0 ? 0 : 1);

function denoSuite(version: string, command: string): Suite {
  const entries = Object.values(denoJson.exports);
  const args = ["test", "-A", "--doc", ...imports, "tests/", "README.md", ...entries];
  return { name: `Deno ${version}`, command, args };
}

function nodeSuites(version: string, command: string): Suite[] {
  return [["ESM", "esm"], ["CommonJS", "script"]].map(([kind, dir]) => {
    const tests = [...Deno.readDirSync(`${root}/npm/${dir}/tests`)]
      .filter(({ name }) => name.endsWith("_test.js"))
      .map(({ name }) => `npm/${dir}/tests/${name}`).sort();
    return {
      name: `Node ${version}, ${kind}`,
      command,
      args: ["--test", "--test-reporter=spec", ...tests],
    };
  });
}

/** Other versions of the runtimes, from npm. */
async function matrix(): Promise<Suite[]> {
  const install = async (spec: string) => {
    const prefix = `${root}/scripts/tools/node_modules/.matrix/${spec}`;
    await must("npm", ["install", "--silent", "--no-audit", "--no-fund", "--prefix", prefix, spec]);
    return `${prefix}/node_modules`;
  };
  const platform = `${Deno.build.os.replace("windows", "win")}-${
    Deno.build.arch === "aarch64" ? "arm64" : "x64"
  }`;
  const found: Suite[] = [];
  for (const wanted of NODE_VERSIONS) {
    const modules = await install(`node-${platform}@${wanted}`);
    const command = `${modules}/node-${platform}/bin/node${windows ? ".exe" : ""}`;
    found.push(...nodeSuites(await version(command), command));
  }
  for (const wanted of DENO_VERSIONS) {
    const modules = await install(`deno@${wanted}`);
    await must("node", [`${modules}/deno/bin.cjs`, "--version"]);
    found.push(denoSuite(wanted, `${modules}/deno/deno${windows ? ".exe" : ""}`));
  }
  return found;
}

/** Runs a suite, showing what it prints. */
async function run({ name, command, args }: Suite): Promise<Result> {
  console.log(`\n=== ${name}`);
  const child = new Deno.Command(command, {
    args: [...args],
    cwd: root,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let output = "";
  const show = async (
    from: ReadableStream<Uint8Array>,
    to: { write: typeof Deno.stdout.write },
  ) => {
    const decoder = new TextDecoder();
    for await (const chunk of from) {
      await to.write(chunk);
      output += decoder.decode(chunk, { stream: true });
    }
  };
  await Promise.all([show(child.stdout, Deno.stdout), show(child.stderr, Deno.stderr)]);
  const { success } = await child.status;
  // deno-lint-ignore no-control-regex
  const plain = output.replace(/\x1b\[[0-9;]*m/g, "");
  // As Deno, Node, Bun and smoke_npm.ts say it.
  const count = (pattern: RegExp) => {
    const found = [...plain.matchAll(pattern)].at(-1)?.slice(1).find((digits) => digits);
    return Number(found ?? 0);
  };
  const result = {
    passed: count(/\| (\d+) passed|^ℹ pass (\d+)|^ *(\d+) pass$|^(\d+) passed,/gm),
    failed: count(/\| (\d+) failed|^ℹ fail (\d+)|^ *(\d+) fail$|, (\d+) failed$/gm),
    skipped: count(/\| (\d+) ignored|^ℹ skipped (\d+)|^ *(\d+) skip$/gm),
  };
  // A runner that broke down, or ran no test, has failed, whatever it counted.
  if (result.failed === 0 && (!success || result.passed === 0)) result.failed = 1;
  return result;
}

function line({ passed, failed, skipped }: Result): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}
