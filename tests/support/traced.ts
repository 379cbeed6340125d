/**
 * A program that runs under strace, so that the system calls of its operations can be counted. Each
 * operation begins and ends with a call that marks it in the trace.
 *
 * @module
 */
import { createHook } from "node:async_hooks";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { atomicUpdate, atomicWrite, atomicWriteSync, DirLock } from "../../mod.ts";
import { isDeno } from "./test.ts";

/**
 * Returns a path that does not exist; a system call that names it marks the start of operation
 * `index`.
 */
export function beginning(index: number): string {
  return `/aperture-begin-${index}`;
}

/** A path that does not exist; a system call that names it marks the end of an operation. */
export const END = "/aperture-end";

const bytes = new Uint8Array(4096);

/** The operations, each in its own directory with a file of mode 0644 and a lock file. */
export const operations: Record<string, (file: string) => unknown> = {
  'atomicWrite(), "none"': (file) => atomicWrite(file, bytes, { durability: "none" }),
  'atomicWrite(), "consistent"': (file) => atomicWrite(file, bytes),
  'atomicWrite(), "durable"': (file) => atomicWrite(file, bytes, { durability: "durable" }),
  "atomicWrite() with createNew": (file) => {
    return atomicWrite(`${file}-new`, bytes, { createNew: true, durability: "none" });
  },
  'atomicWriteSync(), "none"': (file) => atomicWriteSync(file, bytes, { durability: "none" }),
  'atomicWriteSync(), "consistent"': (file) => atomicWriteSync(file, bytes),
  'atomicWriteSync(), "durable"': (file) => {
    atomicWriteSync(file, bytes, { durability: "durable" });
  },
  'atomicUpdate(), "none"': (file) => atomicUpdate(file, () => bytes, { durability: "none" }),
  "DirLock.acquire() and release()": async (file) => {
    (await DirLock.acquire(path.dirname(file))).release();
  },
  "DirLock.acquireSync() and release()": (file) => {
    DirLock.acquireSync(path.dirname(file)).release();
  },
};

let hops = 0;

/** Counts thread hops: libuv requests on Node, and calls that have a `Sync` variant on Deno. */
function countHops(): void {
  if (!isDeno) {
    createHook({ init: (_id, type) => void (type.startsWith("FSREQ") && hops++) }).enable();
    return;
  }
  for (const owner of [Deno, Deno.FsFile.prototype] as unknown as Record<string, unknown>[]) {
    for (const name of Object.getOwnPropertyNames(owner)) {
      if (!(`${name}Sync` in owner)) continue;
      const call = owner[name] as (...args: unknown[]) => unknown;
      owner[name] = function (this: unknown, ...args: unknown[]) {
        hops++;
        return call.apply(this, args);
      };
    }
  }
}

async function main(dir: string): Promise<void> {
  countHops();
  const counted: number[] = [];
  for (const [index, operation] of Object.values(operations).entries()) {
    const file = path.join(dir, `${index}`, "file");
    fs.mkdirSync(path.dirname(file));
    fs.writeFileSync(file, "old");
    fs.chmodSync(file, 0o644);
    // Run each operation once first, so that one-time work is not counted.
    await operation(file);
    fs.rmSync(`${file}-new`, { force: true });
    fs.utimesSync(file, 0, 0); // Otherwise an update would also compare the bytes.
    fs.existsSync(beginning(index));
    const before = hops;
    await operation(file);
    counted.push(hops - before);
    fs.existsSync(END);
  }
  console.log(JSON.stringify(counted));
}

// This file does nothing when a test imports it.
if (process.argv[2] === "aperture-traced") {
  main(process.argv[3]!).catch((error) => {
    console.error(error);
    process.exit(70);
  });
}
