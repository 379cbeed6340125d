/**
 * Eight processes share one cache directory. They repeatedly and concurrently request the digest
 * and compressed size of every file under a directory. Each result is computed only once, under the
 * lock for its part of the cache. Results are written atomically, so they can be read without a
 * lock even while other processes write.
 *
 * ```sh
 * npm run demo # or: npm run demo -- DIR
 * ```
 *
 * The demo exits with 1 if a result was computed twice, a torn file was read or an update was lost.
 *
 * @module
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** What a worker has observed. */
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
const denoArgs: string[] = JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]");
const root = process.argv[2] ?? here("..");
const files = await filesBelow(root);
if (files.length === 0) throw new Error(`There are no files below ${root}`);

const cacheDir = await mkdtemp(`${tmpdir()}/shared-cache-`);
const listFile = `${cacheDir}/files.json`;
await writeFile(listFile, JSON.stringify(files));
const requests = Math.max(400, 3 * files.length);

const runtimes = findRuntimes();
const done = new Array<number>(WORKERS).fill(0);
const started = performance.now();
const seen = await Promise.all(
  Array.from({ length: WORKERS }, (_, i) => work(runtimes[i % runtimes.length]!, i)),
).finally(() => {
  if (process.stdout.isTTY) console.log();
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
await rm(cacheDir, { recursive: true });
if ("Deno" in globalThis) {
  console.log(`
Next, try the lock from two terminals, and two processes that share a settings file:
  ${runOf("cli.ts")} lock . -- sleep 10
  ${runOf("examples/shared_settings.ts")}`);
}
process.exit(twice.length + torn + lostUses === 0 ? 0 : 1);

/**
 * Returns the current runtime. On Deno, also returns Node.js if it is installed and the npm package
 * has been built.
 */
function findRuntimes(): Worker[] {
  const worker = here("shared_cache_worker.mjs");
  const library = import.meta.resolve("@aperture/atomic");
  const { bun, deno, node } = process.versions;
  if (deno === undefined) {
    const name = bun === undefined ? `Node.js ${node}` : `Bun ${bun}`;
    return [{ name, command: process.execPath, args: [worker, library] }];
  }
  const runtimes: Worker[] = [{
    name: `Deno ${deno}`,
    command: process.execPath,
    args: [
      "run",
      `--allow-read=${root},${cacheDir},${here("..")}`,
      `--allow-write=${cacheDir}`,
      ...denoArgs,
      worker,
      library,
    ],
  }];
  const version = spawnSync("node", ["--version"], { encoding: "utf8" }).stdout?.trim().slice(1);
  if (version && existsSync(here("../npm/esm/mod.js"))) {
    const built = new URL("../npm/esm/mod.js", import.meta.url).href;
    runtimes.push({ name: `Node.js ${version}`, command: "node", args: [worker, built] });
  }
  return runtimes;
}

/** Runs one worker and records its progress. */
async function work({ command, args }: Worker, i: number): Promise<Stats> {
  const child = spawn(command, [...args, cacheDir, listFile, String(requests)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  let stats: Stats | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    const message = JSON.parse(line);
    done[i] = message.done;
    stats = message.stats;
    showProgress();
  }
  const [code] = await closed;
  if (code !== 0 || stats === undefined) throw new Error(`A worker failed with exit code ${code}`);
  return stats;
}

function showProgress(): void {
  if (!process.stdout.isTTY) return;
  const part = done.reduce((a, b) => a + b) / (WORKERS * requests);
  const bar = "█".repeat(Math.round(part * 30)).padEnd(30, "░");
  process.stdout.write(`\r${bar} ${Math.round(Math.min(part, 1) * 100)} %`);
}

/** Lists the files under a directory, except those created by git, npm and the build. */
async function filesBelow(dir: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = `${dir.replace(/\/$/, "")}/${entry.name}`;
    if (entry.isFile()) found.push(path);
    if (entry.isDirectory() && ![".git", "node_modules", "npm"].includes(entry.name)) {
      found.push(...await filesBelow(path));
    }
  }
  return found;
}

/** Returns the number of updates recorded in the entries. */
async function countUses(): Promise<number> {
  let total = 0;
  for (const path of await filesBelow(cacheDir)) {
    if (path === listFile || !path.endsWith(".json")) continue;
    total += JSON.parse(await readFile(path, "utf8")).uses;
  }
  return total;
}

/** Returns the command line that runs a file in this repository from the working directory. */
function runOf(file: string): string {
  const words = [process.execPath, "run", "-A", ...denoArgs, here(`../${file}`)];
  return words.map((word) => word.replace(`${process.cwd()}/`, "")).join(" ");
}

function count(number: number): string {
  return number.toLocaleString("en");
}

function printTable(rows: [string, string][]): void {
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) console.log(`${name.padEnd(width)}  ${value}`);
}
