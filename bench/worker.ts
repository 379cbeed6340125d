// Runs a measurement in its own process: worker CONTEST|CURVE|MEASUREMENT|draw JSON. The last line
// of output is JSON.

import process from "node:process";
import { contests } from "./contests.ts";
import { curves } from "./curves.ts";
import { draw } from "./draw.ts";
import { measurements } from "./measures.ts";

const [name, json] = process.argv.slice(2) as [string, string];
const given = JSON.parse(json);

async function result(): Promise<unknown> {
  if (name === "draw") return await draw(given);
  const run = contests[name] ?? curves[name];
  if (run === undefined) return await measurements[name]!(given);
  return await run({ ...given, library: await import(given.url) });
}

console.log(JSON.stringify(await result()));
