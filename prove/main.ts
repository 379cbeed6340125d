// Tests the library's guarantees extensively, then prints a table and a summary. `network` and
// `arm64` run only if --only names them, because they build guest systems from Debian packages.
//   deno task prove [--short] [--only PART,...] [--soak [MINUTES]]

import { existsSync } from "node:fs";
import { proveArm64 } from "./arm64.ts";
import { proveCluster } from "./cluster.ts";
import { proveContainers } from "./containers.ts";
import { proveContention } from "./contention.ts";
import { proveCrashes } from "./crashes.ts";
import { proveFaults } from "./faults.ts";
import { proveOrder } from "./order.ts";
import { proveOrderModel } from "./order_model.ts";
import { proveFuzz } from "./fuzz.ts";
import { proveInterop } from "./interop.ts";
import { proveLargeJson } from "./large_json.ts";
import { proveMutants } from "./mutants.ts";
import { proveNetwork } from "./network.ts";
import { type Part, root, type Row, type Runtime } from "./part.ts";
import { provePowerCuts } from "./power_cuts.ts";
import { proveRaces } from "./races.ts";
import { proveSoak } from "./soak.ts";

const parts: Record<string, Part> = {
  faults: proveFaults,
  order: proveOrder,
  orderModel: proveOrderModel,
  crashes: proveCrashes,
  contention: proveContention,
  interop: proveInterop,
  races: proveRaces,
  fuzz: proveFuzz,
  largeJson: proveLargeJson,
  powerCuts: provePowerCuts,
  cluster: proveCluster,
  containers: proveContainers,
  network: proveNetwork,
  arm64: proveArm64,
  soak: proveSoak,
  mutants: proveMutants,
};

const short = Deno.args.includes("--short");
const minutes = Number(Deno.args[Deno.args.indexOf("--soak") + 1]);
const soak = Deno.args.includes("--soak") ? minutes || 10 : 0;
const only = Deno.args[Deno.args.indexOf("--only") + 1];
// CI runs the short form, which needs no extra packages. The tests have already run by then.
const longOnly = ["largeJson", "powerCuts", "cluster", "containers", "interop"];
const onlyNamed = ["network", "arm64"];
const chosen = Deno.args.includes("--only") ? only!.split(",") : Object.keys(parts).filter(
  (name) => {
    if (name === "soak") return soak > 0;
    return !onlyNamed.includes(name) && (!short || !longOnly.includes(name));
  },
);

const runtimes: Runtime[] = [{ name: "Deno", options: {} }];
const worker = `${root}npm_test/esm/tests/support/worker.js`;
if (existsSync(worker)) runtimes.push({ name: "Node", options: { worker: ["node", worker] } });
else console.log("The npm package is not built, so only Deno takes part.");

const rows: Row[] = [];
for (const name of chosen) {
  const part = parts[name];
  if (part === undefined) {
    throw new Error(`Expected one of ${Object.keys(parts).join(", ")}, not ${name}`);
  }
  const started = performance.now();
  const found = await part({ short, soak, runtimes });
  rows.push(...found);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(found.length === 0 ? `${name}: skipped, strace is missing` : `${name}: ${seconds} s`);
  for (const { failures } of found) {
    for (const failure of failures) console.log(`  FAILED ${failure}`);
  }
}

const header = ["guarantee", "method", "trials", "failures"];
const table = [
  header,
  ...rows.map(({ guarantee, method, trials, failures, skipped }) => [
    guarantee,
    method,
    skipped ? "skipped" : trials.toLocaleString("en"),
    skipped ? "" : String(failures.length),
  ]),
];
const widths = header.map((_, i) => Math.max(...table.map((row) => row[i]!.length)));
console.log();
for (const row of table) {
  console.log(
    row.map((cell, i) => i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  "),
  );
}
const failed = rows.filter(({ failures }) => failures.length > 0).length;
const skipped = rows.filter((row) => row.skipped).length;
console.log(
  `\n${rows.length - failed - skipped} passed, ${failed} failed` +
    (skipped > 0 ? `, ${skipped} skipped` : ""),
);
Deno.exit(failed === 0 ? 0 : 1);
