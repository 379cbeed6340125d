// Checks format, lint, types and documentation: deno task check

import denoJson from "../deno.json" with { type: "json" };
import { deno, importArgs } from "./imports.ts";

const entries = Object.values(denoJson.exports);
const imports = await importArgs();
const checks = [
  ["fmt", "--check"],
  ["lint"],
  ["check", ...imports, "."],
  ["doc", "--lint", ...imports, ...entries],
];
let failed = 0;
for (const check of checks) {
  const code = await deno(check);
  if (code !== 0) failed++;
  console.log(`${code === 0 ? "ok" : "FAILED"}: deno ${check.join(" ")}`);
}
Deno.exit(failed === 0 ? 0 : 1);
