// Builds the documentation site and opens it in headless Chromium, using /usr/bin/chromium or the
// executable that CHROMIUM specifies: deno run -A scripts/matrix/site.ts

import { must, output } from "../lib/commands.ts";
import { importArgs } from "../lib/imports.ts";
import { root, site } from "../lib/setup.mjs";
import { Checklist } from "../lib/checklist.ts";

const steps = new Checklist();
await steps.run("the site is built", async () => {
  await must(Deno.execPath(), [
    "run",
    "-A",
    ...await importArgs(),
    `${root}/scripts/site.ts`,
    "build",
  ]);
});
// playwright-core does not run on Deno.
const results = await output("node", [`${site}/browse.mjs`], root);
for (const line of results.split("\n")) {
  const { name, error } = JSON.parse(line);
  await steps.run(name, () => {
    if (error !== undefined) throw new Error(error);
  });
}
Deno.exit(steps.end());
