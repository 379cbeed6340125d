// Builds or serves the documentation site: deno task docs:build|docs:dev
// The pages come from docs/; TypeDoc adds the API reference. Dead links fail the build.

import { must } from "./lib/commands.ts";
import { setUp, site } from "./lib/setup.mjs";

const [command] = Deno.args;
if (command !== "build" && command !== "dev") throw new Error("Expected build or dev");
setUp(site);
const bin = `${site}/node_modules/.bin`;
await must(`${bin}/typedoc`, ["--options", `${site}/typedoc.json`]);
await must(`${bin}/vitepress`, [command, site]);
