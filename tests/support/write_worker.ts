import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import { AtomicFile, atomicUpdate, atomicWrite, atomicWriteSync } from "../../mod.ts";
import { Child } from "./child.ts";
import { isDeno } from "./test.ts";
import { temps } from "./temps.ts";
import { become } from "./users.ts";

/** Starts one of this file's jobs in another process. */
export function writer(job: string, args: (string | number)[], runtimeArgs: string[] = []): Child {
  const deno = ["run", "-A", "--quiet", ...JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]")];
  return new Child(job, args, {
    worker: [
      process.execPath,
      ...isDeno ? deno : [],
      ...runtimeArgs,
      fileURLToPath(import.meta.url),
    ],
  });
}

type Ending = "exit" | "end" | "throw";

/** Terminates this process in the given way. */
function finish(how: Ending): void {
  if (how === "exit") process.exit(0);
  if (how === "throw") {
    setTimeout(() => {
      throw new Error("This error is meant to end the process");
    });
  }
}

/** Waits until a directory contains a temporary file that is not empty. */
async function untilTemp(dir: string): Promise<void> {
  const isBegun = (name: string) => fs.statSync(path.join(dir, name)).size > 0;
  while (!temps(dir).some(isBegun)) await new Promise((resolve) => setTimeout(resolve, 1));
}

const jobs: Record<string, (...args: string[]) => Promise<void>> = {
  /** As another user, writes with each durability level and mode; prints the results. */
  async writeAs(dir, uid, gid, groups, modes) {
    become(Number(uid), Number(gid), groups === "" ? [] : groups!.split(",").map(Number));
    for (const mode of modes!.split(",").map((octal) => parseInt(octal, 8))) {
      for (const durability of ["none", "consistent", "durable"] as const) {
        for (const form of ["async", "sync", "stream"]) {
          const file = path.join(dir!, `${form}-${durability}`);
          const options = { durability, ...Number.isNaN(mode) ? {} : { mode } };
          if (form === "sync") atomicWriteSync(file, "new", options);
          else if (form === "async") await atomicWrite(file, "new", options);
          else {await atomicWrite(
              file,
              (async function* () {
                yield "new";
              })(),
              options,
            );}
          const info = fs.lstatSync(file);
          const bits = (info.mode & 0o7777).toString(8);
          console.log(`${form} ${durability} ${info.uid}:${info.gid} ${bits}`);
        }
      }
    }
    console.log("done");
  },

  /** As another user, replaces a file while its mode changes; prints the new file's mode. */
  async commitAs(dir, uid, from, to) {
    become(Number(uid), Number(uid));
    const target = path.join(dir!, "file");
    fs.writeFileSync(target, "old");
    fs.chmodSync(target, parseInt(from!, 8));
    const file = await AtomicFile.open(target);
    await file.write("new");
    fs.chmodSync(target, parseInt(to!, 8));
    await file.commit();
    const { mode, size } = fs.lstatSync(target);
    console.log(`${(mode & 0o7777).toString(8)} ${size}`);
  },

  /** Terminates the process while an AtomicFile is open. */
  async endWithAtomicFile(dir, how) {
    const file = await AtomicFile.open(path.join(dir!, "file"));
    await file.write(new Uint8Array(100_000));
    console.log(temps(dir!).length);
    finish(how as Ending);
  },

  /** Terminates the process while a stream is being written. */
  async endWithStream(dir, how) {
    const source = new PassThrough();
    source.write(new Uint8Array(100_000));
    atomicWrite(path.join(dir!, "file"), source).catch(() => {});
    await untilTemp(dir!);
    console.log(temps(dir!).length);
    finish(how as Ending);
  },

  /** Terminates the process while bytes are being written. */
  async endWithBytes(dir, how) {
    const bytes = new Uint8Array(200 << 20);
    atomicWrite(path.join(dir!, "file"), bytes, { durability: "durable" }).catch(() => {});
    await untilTemp(dir!);
    console.log(temps(dir!).length);
    finish(how as Ending);
  },

  /** Prints how many exit listeners have been added after each of several writes. */
  async exitListeners(dir) {
    // Node itself has an exit listener while it loads the program.
    await new Promise((resolve) => setImmediate(resolve));
    const counts = [process.listenerCount("exit")];
    for (let i = 0; i < 3; i++) {
      await atomicWrite(path.join(dir!, "file"), String(i));
      counts.push(process.listenerCount("exit"));
    }
    console.log(counts.map((count) => count - counts[0]!).join(" "));
  },

  /**
   * Passes a read stream for a missing file to atomicWrite(); prints the error codes and whether
   * each stream was destroyed.
   */
  async readMissing(dir) {
    for (const name of ["file", "link0"]) {
      const source = fs.createReadStream(path.join(dir!, "missing"));
      const error = await atomicWrite(path.join(dir!, name), source)
        .then(() => undefined, (error) => error);
      await new Promise((resolve) => setTimeout(resolve, 20));
      console.log(`${error?.code} ${source.destroyed}`);
    }
  },

  /** Prints the warnings that appear while many calls wait with the same signal. */
  async manyOnOneSignal(dir) {
    const { signal } = new AbortController();
    const warnings: string[] = [];
    process.on("warning", ({ name }) => void warnings.push(name));
    const file = path.join(dir!, "file");
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => [
        atomicWrite(file, `${i}`, { signal, mode: 0o600 + i % 2 }),
        atomicWrite(
          path.join(dir!, String(i)),
          (async function* () {
            yield "x";
            await new Promise((resolve) => setTimeout(resolve, 20));
            yield "y";
          })(),
          { signal },
        ),
        AtomicFile.open(path.join(dir!, `a${i}`), { signal }).then(async (draft) => {
          await new Promise((resolve) => setTimeout(resolve, 20));
          await draft.commit();
        }),
        atomicUpdate(path.join(dir!, "updated"), () => "x", { signal }),
      ]).flat(),
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
    console.log(`warnings: ${warnings.join(" ")}`);
  },
};

// Tests import this file only so that it gets compiled; the import itself does nothing.
if (process.argv[2] === "aperture-worker" && process.argv[1] === fileURLToPath(import.meta.url)) {
  jobs[process.argv[3]!]!(...process.argv.slice(4)).catch((error) => {
    console.error(error);
    process.exit(70);
  });
}
