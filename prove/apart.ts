// Runs one part of the proof in the namespaces that ground.ts created: apart.ts MODULE SCALE.
// Writes the part's rows to standard output. Exits when standard input ends.

import type { ProveApart } from "./ground.ts";

const [module, scale] = Deno.args;

(async () => {
  for await (const _ of Deno.stdin.readable);
  Deno.exit(1);
})();

const { prove } = await import(`./${module}.ts`) as { prove: ProveApart };
const rows = await prove(JSON.parse(scale!));
await new Response(JSON.stringify(rows)).body!.pipeTo(Deno.stdout.writable);
Deno.exit(0);
