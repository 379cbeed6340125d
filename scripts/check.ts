// Checks formatting, lint, types, documentation, imports, links and lists: deno task check

import { pathToFileURL } from "node:url";
import denoJson from "../deno.json" with { type: "json" };
import { wrongArrows } from "./lib/arrows.ts";
import { writeScripts } from "./lib/code_blocks.ts";
import { deno, importArgs, ownImports } from "./lib/imports.ts";
import { brokenLinks, markdownFiles } from "./lib/links.ts";
import { unlistedFiles } from "./lib/lists.ts";
import { countByFolder, proseFindings } from "./lib/prose.ts";
import { root } from "./lib/setup.mjs";
import { Checklist } from "./lib/checklist.ts";

/** The maximum number of flagged phrases. Lower it when you remove some. */
const MAX_PROSE_FINDINGS = 40;

const imports = await importArgs();
const steps = new Checklist();
for (
  const args of [
    ["fmt", "--check"],
    ["lint"],
    ["check", "--doc", ...imports, ".", ...markdownFiles(root)],
    ["doc", "--lint", ...imports, ...Object.values(denoJson.exports)],
  ]
) {
  await steps.run(`deno ${args.join(" ")}`, async () => {
    const code = await deno(args);
    if (code !== 0) throw new Error(`exit code ${code}`);
  });
}
await steps.run("deno check of the JavaScript in pages", async () => {
  const dir = Deno.makeTempDirSync({ prefix: "aperture-blocks-" });
  const scripts = writeScripts(root, dir).map((name) => `${dir}/${name}`);
  const importMap = JSON.stringify({
    imports: { ...denoJson.imports, ...ownImports(pathToFileURL(root).href) },
  });
  Deno.writeTextFileSync(`${dir}/imports.json`, importMap);
  // TypeScript's strict mode, except that parameters need no types, since JavaScript has none.
  const compilerOptions = { strict: true, checkJs: true, noImplicitAny: false };
  Deno.writeTextFileSync(`${dir}/deno.json`, JSON.stringify({ compilerOptions }));
  const args = imports.length > 0 ? imports : ["--import-map", `${dir}/imports.json`];
  const code = await deno(["check", "--config", `${dir}/deno.json`, ...args, ...scripts]);
  Deno.removeSync(dir, { recursive: true });
  if (code !== 0) throw new Error(`exit code ${code}`);
});
await steps.run("imports go downwards, and in no circle", () => none(wrongArrows(root)));
await steps.run("links lead somewhere", () => none(brokenLinks(root, markdownFiles(root))));
await steps.run("files are listed where all are", () => none(unlistedFiles(root)));
await steps.run("prose is plain English", () => {
  const findings = proseFindings(root);
  console.log(`${findings.length} phrases to rewrite: ${countByFolder(findings)}`);
  if (findings.length > MAX_PROSE_FINDINGS) {
    none(
      findings.map(({ file, line, found, instead }) => `${file}:${line}: "${found}": ${instead}`),
    );
  }
});
Deno.exit(steps.end());

function none(lines: string[]): void {
  if (lines.length > 0) throw new Error(lines.join("\n"));
}
