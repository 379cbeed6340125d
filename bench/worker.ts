// Measures in a process of its own: worker CONTEST|MEASUREMENT|CURVE JSON. Ends with a line of JSON.

import process from "node:process";
import { contests } from "./contests.ts";
import { curves } from "./curves.ts";
import { measurements } from "./measures.ts";

const [name, json] = process.argv.slice(2) as [string, string];
const given = JSON.parse(json);

async function result(): Promise<unknown> {
  const contest = contests[name];
  if (contest !== undefined) {
    return await contest({ ...given, library: await import(given.url) });
  }
  const curve = curves[name];
  if (curve !== undefined) {
    return await curve({ ...given, library: await import(given.url) });
  }
  return await measurements[name]!(given);
}

console.log(JSON.stringify(await result()));
