// Checks format, lint, types, documentation, imports, links and lists: deno task check

import denoJson from "../deno.json" with { type: "json" };
import { wrongArrows } from "./lib/arrows.ts";
import { deno, importArgs } from "./lib/imports.ts";
import { brokenLinks, markdownFiles } from "./lib/links.ts";
import { unlistedFiles } from "./lib/lists.ts";
import { root } from "./lib/setup.mjs";
import { Checklist } from "./lib/checklist.ts";

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
await steps.run("imports go downwards, and in no circle", () => none(wrongArrows(root)));
await steps.run("links lead somewhere", () => none(brokenLinks(root, markdownFiles(root))));
await steps.run("files are listed where all are", () => none(unlistedFiles(root)));
Deno.exit(steps.end());

function none(lines: string[]): void {
  if (lines.length > 0) throw new Error(lines.join("\n"));
}
