// Packs npm/, installs the tarball in an empty project and uses it as its users do:
// deno run -A scripts/smoke_npm.ts

import { packageJson } from "./package.ts";
import { nodeModules, root, setUp } from "./setup.mjs";

setUp();
const project = await Deno.makeTempDir({ prefix: "aperture-smoke-" });
let passed = 0;
let failed = 0;

/** Runs a command in the project; what it prints. */
async function run(command: string, args: string[], cwd = project): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const [output, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (!success) throw new Error(`${command} ${args.join(" ")}\n${output}${errors}`);
  return output!.trim();
}

async function step(name: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
    passed++;
    console.log(`ok: ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED: ${name}\n${error}`);
  }
}

function expect(actual: unknown, expected: unknown): void {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== e) throw new Error(`Expected ${e}: got ${a}`);
}

const write = (name: string, text: string) => Deno.writeTextFile(`${project}/${name}`, text);
const tool = (name: string) => `${nodeModules}/.bin/${name}`;
const names = Object.keys(packageJson.exports).filter((name) => name !== "./package.json")
  .map((name) => packageJson.name + name.slice(1));

/** What a user does with the library; `lib` has all of it. */
const USE = `
  const dir = require("node:fs").mkdtempSync(require("node:path").join(require("node:os").tmpdir(), "use-"));
  await lib.atomicWrite(dir + "/a", "x");
  lib.atomicWriteSync(dir + "/a", "y");
  await lib.atomicUpdate(dir + "/a", (bytes) => new TextDecoder().decode(bytes) + "z");
  const lock = await lib.DirLock.acquire(dir);
  if (await lib.DirLock.tryAcquire(dir) !== null) throw new Error("not locked");
  lock.release();
  if (require("node:fs").readFileSync(dir + "/a", "utf8") !== "yz") throw new Error("not written");
  require("node:fs").rmSync(dir, { recursive: true });
  console.log("used");
`;

let tarball = "";
await step("npm pack", async () => {
  const output = await run("npm", ["pack", "--json", "--pack-destination", project], `${root}/npm`);
  const [{ filename, files }] = JSON.parse(output);
  tarball = `${project}/${filename.replace("/", "-").replace("@", "")}`;
  const paths = (files as { path: string }[]).map(({ path }) => path);
  for (const wanted of ["README.md", "LICENSE", "package.json", "esm/mod.js", "script/mod.d.ts"]) {
    if (!paths.includes(wanted)) throw new Error(`${wanted} is missing`);
  }
  const unwanted = paths.filter((path) =>
    /(^|\/)(tests|assert)\/|test_|\.ts$/.test(path) && !path.endsWith(".d.ts")
  );
  expect(unwanted, []);
});

await step("publint", async () => {
  const output = await run("node", [tool("publint"), "--strict", tarball]);
  if (!output.includes("All good!")) throw new Error(output);
});

await step("attw", async () => {
  await run("node", [tool("attw"), tarball]);
});

await step("npm install of the tarball", async () => {
  await write("package.json", JSON.stringify({ private: true }));
  await run("npm", [
    "install",
    "--no-audit",
    "--no-fund",
    tarball,
    "typescript@5.9",
    "@types/node@22",
  ]);
});

await step("import of every subpath", async () => {
  await write(
    "import.mjs",
    names.map((name) => `console.log(Object.keys(await import("${name}")).length)`).join("\n"),
  );
  expect(
    (await run("node", ["import.mjs"])).split("\n").map((n) => Number(n) > 0),
    names.map(() => true),
  );
});

await step("require of every subpath", async () => {
  await write(
    "require.cjs",
    names.map((name) => `console.log(Object.keys(require("${name}")).length)`).join("\n"),
  );
  expect(
    (await run("node", ["require.cjs"])).split("\n").map((n) => Number(n) > 0),
    names.map(() => true),
  );
});

const esm = `import * as lib from "${packageJson.name}";
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
${USE}`;
const cjs = `const lib = require("${packageJson.name}");\n(async () => {${USE}})();`;
await write("use.mjs", esm);
await write("use.cjs", cjs);
await step(
  "use as an ES module on Node",
  async () => expect(await run("node", ["use.mjs"]), "used"),
);
await step("use as CommonJS on Node", async () => expect(await run("node", ["use.cjs"]), "used"));
await step("use on Bun", async () => expect(await run(tool("bun"), ["use.mjs"]), "used"));

await step("use as both in one process", async () => {
  await write(
    "both.mjs",
    `
import * as esm from "${packageJson.name}";
import { createRequire } from "node:module";
const cjs = createRequire(import.meta.url)("${packageJson.name}");
const one = await esm.DirLock.acquire("both");
console.log(await cjs.DirLock.tryAcquire("both"));
try { cjs.DirLock.acquireSync("both") } catch (error) { console.log(error.code) }
const waiting = cjs.DirLock.acquire("both");
const next = esm.DirLock.acquire("both");
one.release();
(await waiting).release();
(await next).release();
console.log((await cjs.DirLock.tryAcquire("both")).shared);
`,
  );
  expect(await run("node", ["both.mjs"]), "null\nEDEADLK\nfalse");
});

const consumer =
  `import { AtomicFile, atomicUpdate, atomicWrite, type AtomicWriteError, DirLock } from "${packageJson.name}";
import { LockTimeoutError, type AcquireOptions } from "${packageJson.name}/lock";
import { isTempName } from "${packageJson.name}/atomic";
import { atomicUpdate as update } from "${packageJson.name}/update";

export async function use(options: AcquireOptions): Promise<boolean> {
  await atomicWrite("a", new Uint8Array(1), { durability: "durable" });
  await atomicUpdate("a", (bytes: Uint8Array | null) => bytes && "x");
  await update("a", () => null);
  await using file = await AtomicFile.open(new URL("file:///a"));
  using lock: DirLock = await DirLock.acquire("dir", options);
  // @ts-expect-error There is no such durability.
  await atomicWrite("a", "x", { durability: "fsync" });
  const error: unknown = null;
  if (error instanceof LockTimeoutError) return error.timeout > 0;
  return (error as AtomicWriteError).replaced || isTempName(lock.path + file.path);
}
`;
await write("consumer.mts", consumer);
await write("consumer.cts", consumer);
await write("consumer.ts", consumer);
const tsc = (...args: string[]) =>
  run("node", [
    "node_modules/typescript/bin/tsc",
    "--noEmit",
    "--strict",
    "--exactOptionalPropertyTypes",
    "--target",
    "es2022",
    "--lib",
    "es2022,esnext.disposable,dom",
    "--types",
    "node",
    ...args,
  ]);
await step("types under nodenext, for both module kinds", async () => {
  await tsc("--module", "nodenext", "consumer.mts", "consumer.cts");
});
await step("types under bundler", async () => {
  await tsc("--module", "esnext", "--moduleResolution", "bundler", "consumer.ts");
});

// From here on koffi is missing.
await Deno.remove(`${project}/node_modules/koffi`, { recursive: true });
await step("without koffi, writes work on Node, and locks say what to install", async () => {
  await write(
    "without.mjs",
    `
import { atomicWrite, DirLock } from "${packageJson.name}";
await atomicWrite("written", "x");
try { await DirLock.acquire("locks") } catch (error) { console.log(error.code, error.message) }
`,
  );
  const output = await run("node", ["without.mjs"]);
  if (!/^ERR_MODULE_NOT_FOUND .*npm install koffi/.test(output)) throw new Error(output);
});
await step("use on Deno, with its own locks and so without koffi", async () => {
  const args = ["run", "-A", "--quiet", "--node-modules-dir=manual", "use.mjs"];
  expect(await run(Deno.execPath(), args), "used");
});

await Deno.remove(project, { recursive: true });
console.log(`${passed} passed, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);
