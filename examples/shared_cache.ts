/**
 * Several processes share one cache directory: they ask for the digest and compressed size of
 * every file below a directory, many times over and at once. Each answer is computed once in
 * all, under the lock of its part of the cache; it is stored atomically, and read without a lock
 * while others write.
 *
 * ```sh
 * deno task demo [DIR]
 * ```
 *
 * It exits with 1 if anything was computed twice or read torn.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

/** What a worker has seen. */
interface Stats {
  requests: number;
  hits: number;
  computed: string[];
  uses: number;
  torn: number;
  longestWait: number;
}

interface Worker {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

const WORKERS = 8;
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const root = Deno.args[0] ?? here("..");
const files = await filesBelow(root);
if (files.length === 0) throw new Error(`There are no files below ${root}`);

const cacheDir = await Deno.makeTempDir({ prefix: "shared-cache-" });
const listFile = `${cacheDir}/files.json`;
await Deno.writeTextFile(listFile, JSON.stringify(files));
const requests = Math.max(400, 3 * files.length);

const runtimes = await findRuntimes();
const done = new Array<number>(WORKERS).fill(0);
const started = performance.now();
const seen = await Promise.all(
  Array.from({ length: WORKERS }, (_, i) => work(runtimes[i % runtimes.length]!, i)),
).finally(() => {
  if (Deno.stdout.isTerminal()) console.log();
});
const wall = performance.now() - started;

const computed = seen.flatMap((stats) => stats.computed);
const twice = computed.filter((file, i) => computed.indexOf(file) !== i);
const uses = await countUses();
const sum = (of: (stats: Stats) => number) => seen.reduce((total, stats) => total + of(stats), 0);
const torn = sum((stats) => stats.torn);
const lostUses = sum((stats) => stats.uses) - uses;

const names = new Set(runtimes.map(({ name }) => name));
printTable([
  ["processes", `${WORKERS} (${[...names].join(" and ")})`],
  ["files", count(files.length)],
  ["requests", count(sum((stats) => stats.requests))],
  ["hits", count(sum((stats) => stats.hits))],
  ["computed", count(computed.length)],
  ["computed twice", count(twice.length)],
  ["torn reads", count(torn)],
  ["entries updated", count(sum((stats) => stats.uses))],
  ["updates lost", count(lostUses)],
  ["longest wait for a lock", `${Math.max(...seen.map((s) => s.longestWait)).toFixed(1)} ms`],
  ["wall time", `${(wall / 1000).toFixed(2)} s`],
]);
await Deno.remove(cacheDir, { recursive: true });
console.log(`
Next, try the lock from two terminals, and two processes that share a settings file:
  ${runOf("cli.ts")} lock . -- sleep 10
  ${runOf("examples/shared_settings.ts")}`);
Deno.exit(twice.length + torn + lostUses === 0 ? 0 : 1);

/** Deno, and Node if it is there and the npm package is built. */
async function findRuntimes(): Promise<Worker[]> {
  const worker = here("shared_cache_worker.mjs");
  const deno: Worker = {
    name: `Deno ${Deno.version.deno}`,
    command: Deno.execPath(),
    args: [
      "run",
      `--allow-read=${root},${cacheDir},${here("..")}`,
      `--allow-write=${cacheDir}`,
      ...JSON.parse(Deno.env.get("APERTURE_DENO_ARGS") ?? "[]"),
      worker,
      new URL("../mod.ts", import.meta.url).href,
    ],
  };
  try {
    const built = new URL("../npm/esm/mod.js", import.meta.url);
    await Deno.stat(built);
    const { stdout } = await new Deno.Command("node", { args: ["--version"] }).output();
    const version = new TextDecoder().decode(stdout).trim().slice(1);
    return [deno, { name: `Node ${version}`, command: "node", args: [worker, built.href] }];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [deno];
    throw error;
  }
}

/** Runs one worker, keeping track of how far it is. */
async function work({ command, args }: Worker, i: number): Promise<Stats> {
  const child = new Deno.Command(command, {
    args: [...args, cacheDir, listFile, String(requests)],
    stdout: "piped",
  }).spawn();
  let stats: Stats | undefined;
  let rest = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const message = JSON.parse(line);
      done[i] = message.done;
      stats = message.stats;
      showProgress();
    }
  }
  const { code } = await child.status;
  if (code !== 0 || stats === undefined) throw new Error(`A worker failed with exit code ${code}`);
  return stats;
}

function showProgress(): void {
  if (!Deno.stdout.isTerminal()) return;
  const part = done.reduce((a, b) => a + b) / (WORKERS * requests);
  const bar = "█".repeat(Math.round(part * 30)).padEnd(30, "░");
  Deno.stdout.writeSync(
    new TextEncoder().encode(`\r${bar} ${Math.round(Math.min(part, 1) * 100)} %`),
  );
}

/** The files below a directory, less what git, npm and the build put there. */
async function filesBelow(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory, isFile } of Deno.readDir(dir)) {
    const path = `${dir.replace(/\/$/, "")}/${name}`;
    if (isFile) found.push(path);
    if (isDirectory && ![".git", "node_modules", "npm"].includes(name)) {
      found.push(...await filesBelow(path));
    }
  }
  return found;
}

/** How many updates the entries remember. */
async function countUses(): Promise<number> {
  let total = 0;
  for (const path of await filesBelow(cacheDir)) {
    if (path === listFile || !path.endsWith(".json")) continue;
    total += JSON.parse(await Deno.readTextFile(path)).uses;
  }
  return total;
}

/** The command that runs a file of this repository from here. */
function runOf(file: string): string {
  const path = fileURLToPath(new URL(`../${file}`, import.meta.url));
  const args = ["run", "-A", ...JSON.parse(Deno.env.get("APERTURE_DENO_ARGS") ?? "[]"), path];
  return [Deno.execPath(), ...args].map((word) => word.replace(`${Deno.cwd()}/`, "")).join(" ");
}

function count(number: number): string {
  return number.toLocaleString("en");
}

function printTable(rows: [string, string][]): void {
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) console.log(`${name.padEnd(width)}  ${value}`);
}
