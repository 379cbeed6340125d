// A worker process of shared_cache.ts, in JavaScript for Deno, Node.js and Bun:
//   RUNTIME shared_cache_worker.mjs LIBRARY CACHE_DIR LIST_FILE REQUESTS
// It prints its progress, and finally its statistics, as lines of JSON.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const [library, cacheDir, listFile, requests] = process.argv.slice(2);
const { atomicUpdate, atomicWrite, withDirLock } = await import(library);
const files = JSON.parse(await readFile(listFile, "utf8"));

const stats = {
  requests: 0,
  hits: 0,
  computed: [],
  uses: 0,
  torn: 0,
  longestWait: 0,
};

function sha256(data) {
  return createHash("sha256").update(data).digest("hex");
}

/** Adds a checksum to an entry, so that a torn entry can be detected. */
function withChecksum(entry) {
  return JSON.stringify({ ...entry, checksum: sha256(JSON.stringify(entry)) });
}

function withoutChecksum(text) {
  const { checksum, ...entry } = JSON.parse(text);
  if (checksum !== sha256(JSON.stringify(entry))) throw new Error("The entry is torn");
  return entry;
}

/** Reads an entry without a lock, or returns null if there is none. */
async function read(path) {
  let text;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw error;
  }
  try {
    return withoutChecksum(text);
  } catch {
    stats.torn++;
    return null;
  }
}

async function compute(file) {
  const bytes = await readFile(file);
  const packed = await promisify(gzip)(bytes);
  stats.computed.push(file);
  return { file, digest: sha256(bytes), size: bytes.length, packed: packed.length, uses: 0 };
}

async function ask(file) {
  const key = sha256(file);
  const part = join(cacheDir, key.slice(0, 1));
  const path = join(part, `${key}.json`);
  stats.requests++;

  let entry = await read(path);
  if (entry !== null) {
    stats.hits++;
    // Every tenth hit changes the entry while other processes read it.
    if (stats.hits % 10 === 0) {
      stats.uses++;
      await atomicUpdate(path, (bytes) => {
        const now = withoutChecksum(new TextDecoder().decode(bytes));
        return withChecksum({ ...now, uses: now.uses + 1 });
      }, { durability: "none" });
    }
    return entry;
  }

  const started = performance.now();
  await withDirLock(part, async () => {
    stats.longestWait = Math.max(stats.longestWait, performance.now() - started);
    entry = await read(path); // Another process may have been faster.
    if (entry !== null) return void stats.hits++;
    entry = await compute(file);
    await atomicWrite(path, withChecksum(entry), { durability: "none" });
  });
  return entry;
}

async function askMany() {
  while (stats.requests < Number(requests)) {
    await ask(files[Math.floor(Math.random() * files.length)]);
  }
}

const progress = setInterval(() => console.log(JSON.stringify({ done: stats.requests })), 100);
await Promise.all(Array.from({ length: 8 }, askMany));
clearInterval(progress);
console.log(JSON.stringify({ done: stats.requests, stats }));
