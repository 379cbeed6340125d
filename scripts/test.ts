// Runs all tests on all runtimes that there are: deno task test
// Ends with a line that sums them up.

import denoJson from "../deno.json" with { type: "json" };
import { importArgs } from "./imports.ts";

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

const entries = Object.values(denoJson.exports);
const imports = await importArgs();
const suites: Suite[] = [
  {
    name: `Deno ${Deno.version.deno}`,
    command: Deno.execPath(),
    args: ["test", "-A", "--doc", ...imports, "tests/", "README.md", ...entries],
  },
];

const total: Result = { passed: 0, failed: 0, skipped: 0 };
for (const suite of suites) {
  const { passed, failed, skipped } = await run(suite);
  console.log(`\n${suite.name}: ${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
Deno.exit(total.failed === 0 ? 0 : 1);

/** Runs a suite, showing what it prints. */
async function run({ command, args }: Suite): Promise<Result> {
  const child = new Deno.Command(command, {
    args: [...args],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let output = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    await Deno.stdout.write(chunk);
    output += decoder.decode(chunk, { stream: true });
  }
  const { success } = await child.status;
  // deno-lint-ignore no-control-regex
  const plain = output.replace(/\x1b\[[0-9;]*m/g, "");
  const count = (...patterns: RegExp[]) => {
    const found = patterns.flatMap((pattern) => [...plain.matchAll(pattern)]).at(-1);
    return Number(found?.[1] ?? 0);
  };
  const result = {
    passed: count(/\| (\d+) passed/g, /^# pass (\d+)/gm, /^ *(\d+) pass$/gm),
    failed: count(/\| (\d+) failed/g, /^# fail (\d+)/gm, /^ *(\d+) fail$/gm),
    skipped: count(/\| (\d+) ignored/g, /^# skipped (\d+)/gm, /^ *(\d+) skip$/gm),
  };
  // A runner that broke down, or found no test, has failed, whatever it counted.
  if (result.failed === 0 && (!success || result.passed === 0)) result.failed = 1;
  return result;
}
