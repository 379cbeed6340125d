// Packs npm/, installs the tarball in an empty project and uses it as users would:
// deno run -A scripts/smoke_npm.ts

import * as fs from "node:fs";
import { writeScripts } from "./lib/code_blocks.ts";
import { packageJson } from "./lib/package.ts";
import { Project, tool, typesProgram, useProgram } from "./lib/project.ts";
import { root, setUp } from "./lib/setup.mjs";
import { Checklist, expect } from "./lib/checklist.ts";

setUp();
const project = await Project.create();
const steps = new Checklist();
const { name } = packageJson;
const subpaths = Object.keys(packageJson.exports).filter((path) => path !== "./package.json")
  .map((path) => name + path.slice(1));

await steps.run("the package has the files that it names, and no test files", () => {
  const named = JSON.stringify(packageJson).matchAll(/"(?:\.\/)?((?:esm|script)\/[^"]+)"/g);
  const wanted = ["CHANGELOG.md", "LICENSE", "README.md", ...[...named].map(([, path]) => path!)];
  expect(wanted.filter((path) => !project.files.includes(path)), []);
  const unwanted = project.files.filter((path) =>
    !/^((esm|script)\/.+\.(js|d\.ts)|((esm|script)\/)?package\.json|[A-Z]+(\.md)?)$/.test(path) ||
    /\/(tests|deps|std)\/|_test|_dnt|ensure_dir_test/.test(path)
  );
  expect(unwanted, []);
});
await steps.run("its modules are joined", () => {
  const joined = ["esm", "script"].map((dir) =>
    project.files.filter((path) => path.startsWith(`${dir}/`) && path.endsWith(".js")).length
  );
  expect(joined.map((files) => files <= 25 || files), [true, true]);
});
await steps.run("publint", async () => {
  const output = await project.run("node", [tool("publint"), "--strict", project.tarball]);
  if (!output.includes("All good!")) throw new Error(output);
});
await steps.run("attw", () => project.run("node", [tool("attw"), project.tarball]));
await steps.run("npm publish --dry-run", async () => {
  // Use a separate tag, since npm rejects a version that is already published.
  await project.run("npm", ["publish", "--dry-run", "--tag", "dry-run", project.tarball]);
});
await steps.run(
  "npm install of the tarball",
  () => project.install("typescript@5.9", "@types/node@22"),
);
const installed = `${project.dir}/node_modules/${name}`;
await steps.run("no file uses import.meta", () => {
  const users = project.files.filter((path) =>
    path.endsWith(".js") && fs.readFileSync(`${installed}/${path}`, "utf8").includes("import.meta")
  );
  expect(users, []);
});

const allOf = (load: (name: string) => string) => subpaths.map(load).join("\n");
await steps.run("import of every subpath", async () => {
  project.write("import.mjs", allOf((path) => `console.log(typeof await import("${path}"))`));
  expect(await project.run("node", ["import.mjs"]), subpaths.map(() => "object").join("\n"));
});
await steps.run("require of every subpath", async () => {
  project.write("require.cjs", allOf((path) => `console.log(typeof require("${path}"))`));
  expect(await project.run("node", ["require.cjs"]), subpaths.map(() => "object").join("\n"));
});

project.write("use.mjs", useProgram("esm"));
project.write("use.cjs", useProgram("cjs"));
const used = async (command: string, ...args: string[]) =>
  expect(await project.run(command, args), "used");
await steps.run("use as an ES module on Node", () => used("node", "use.mjs"));
await steps.run("use as CommonJS on Node", () => used("node", "use.cjs"));
await steps.run(
  "use without a global crypto",
  () => used("node", "--no-experimental-global-webcrypto", "use.mjs"),
);
await steps.run("the command", async () => {
  const version = await project.run("npx", ["--no-install", "aperture-atomic", "--version"]);
  expect(version.includes(packageJson.version), true);
});
await steps.run("use on Bun", () => used(tool("bun"), "use.mjs"));
await steps.run("use in node -e", () => used("node", "-e", useProgram("cjs")));
await steps.run(
  "use in node --input-type=module",
  () => used("node", "--input-type=module", "-e", useProgram("esm")),
);
await steps.run(
  "use from a symbolic link, as in pnpm's node_modules",
  async () => {
    // In npm's linked layout, koffi is next to the package, not at the top level.
    const store = `${project.dir}/store/node_modules`;
    fs.mkdirSync(`${store}/@aperture`, { recursive: true });
    fs.renameSync(installed, `${store}/${name}`);
    for (const other of ["koffi", "@koromix"]) {
      fs.renameSync(`${project.dir}/node_modules/${other}`, `${store}/${other}`);
    }
    fs.symlinkSync(`${store}/${name}`, installed, "junction");
    await used("node", "use.mjs");
    await used("node", "use.cjs");
    fs.rmSync(installed);
    fs.renameSync(`${store}/${name}`, installed);
    for (const other of ["koffi", "@koromix"]) {
      fs.renameSync(`${store}/${other}`, `${project.dir}/node_modules/${other}`);
    }
  },
);

await steps.run("use as both in one process", async () => {
  project.write(
    "both.mjs",
    `
import * as esm from "${name}";
import { createRequire } from "node:module";
const cjs = createRequire(import.meta.url)("${name}");
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
  expect(await project.run("node", ["both.mjs"]), "null\nEDEADLK\nfalse");
});

for (const file of ["consumer.mts", "consumer.cts", "consumer.ts"]) {
  project.write(file, typesProgram());
}
const tsc = (...args: string[]) =>
  project.run("node", [
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
await steps.run(
  "types under nodenext, for both module kinds",
  () => tsc("--module", "nodenext", "consumer.mts", "consumer.cts"),
);
await steps.run(
  "types under bundler, without the DOM's types",
  () =>
    tsc("--lib", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "consumer.ts"),
);
await steps.run("types of the JavaScript in pages", () => {
  const scripts = writeScripts(root, project.dir);
  return tsc("--module", "nodenext", "--checkJs", "--noImplicitAny", "false", ...scripts);
});

// Without koffi, writes work and lock errors explain what is missing.
project.write(
  "without.mjs",
  `
import { atomicWrite, DirLock } from "${name}";
await atomicWrite("written", "x");
try { await DirLock.acquire("locks") } catch (error) { console.log(error.code, error.message) }
try { DirLock.acquireSync("locks") } catch (error) { console.log(error.code, error.message) }
`,
);
const failsWith = async (pattern: RegExp, ...args: string[]) => {
  const lines = (await project.run("node", [...args, "without.mjs"])).split("\n");
  expect(lines.map((line) => pattern.test(line) || line), [true, true]);
};
const addon = `${project.dir}/node_modules/@koromix`;
await steps.run(
  "a lock when addons are forbidden",
  () => failsWith(/^ERR_DLOPEN_DISABLED .*--allow-addons/, "--no-addons"),
);
await steps.run("a lock when koffi lacks its addon", async () => {
  fs.renameSync(addon, `${addon}-away`);
  await failsWith(/^ERR_DLOPEN_FAILED .*cannot be loaded: .+/);
});
await steps.run("a lock when koffi is not installed", async () => {
  fs.rmSync(`${project.dir}/node_modules/koffi`, { recursive: true });
  await failsWith(/^ERR_MODULE_NOT_FOUND .*not installed: run npm install koffi$/);
});
await steps.run(
  "use on Deno, which has locks of its own, without koffi",
  () => used(Deno.execPath(), "run", "-A", "--quiet", "--node-modules-dir=manual", "use.mjs"),
);

project.remove();
Deno.exit(steps.end());
