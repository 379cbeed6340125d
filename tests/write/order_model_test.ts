/**
 * The order of calls, compared with a model. Each random program must produce a result that
 * sequential calls could also produce. With APERTURE_SEED, only the program for that seed runs.
 */
import { assert, assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { atomicWrite, atomicWriteSync } from "../../mod.ts";
import { inTempDir } from "../support/dir.ts";
import { type Calls, findWrong, library, type Program, programOf } from "../support/order_model.ts";
import { isDeno, isWindows, isWine, test } from "../support/test.ts";

/** The number of random programs; the `orderModel` part of `deno task prove` runs more. */
const PROGRAMS = Number(process.env.APERTURE_PROGRAMS ?? 40);

function* from(first: number, count: number): Generator<number> {
  for (let i = 0; i < count; i++) yield first + i;
}

test(`${PROGRAMS} random programs have results that sequential calls could produce`, async () => {
  const given = process.env.APERTURE_SEED;
  const first = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  const wrong = await findWrong(library, from(first, given === undefined ? PROGRAMS : 1));
  if (wrong !== undefined) {
    const { seed, error } = wrong;
    throw new Error(`APERTURE_SEED=${seed}: ${error.message}`, { cause: error });
  }
});

test("programOf() returns the same program for the same seed", () => {
  assertEquals(programOf(7, true), programOf(7, true));
  const programs: Program[] = Array.from(from(0, 100), (seed) => programOf(seed, true));
  const kinds = new Set(programs.flatMap(({ steps }) => steps.map((step) => step.do)));
  assertEquals([...kinds].sort(), ["draft", "pass", "stream", "sync", "update", "wait", "write"]);
}, { skip: isWine && "updates do not work under Wine" });

/** Runs `work` after all earlier work. */
let line: Promise<unknown> = Promise.resolve();
function inLine(work: () => Promise<void>): Promise<void> {
  const done = line.then(work);
  line = done.catch(() => {});
  return done;
}

/** The calls that the model describes: each call runs to completion before the next one starts. */
const sequential: Calls = {
  async write(path, data, { signal: _, ...options }) {
    if (typeof data === "string") return atomicWriteSync(path, data, options);
    let text = "";
    for await (const chunk of data as AsyncIterable<string>) text += chunk;
    atomicWriteSync(path, text, options);
  },
  writeSync: atomicWriteSync,
  async draft(path, data, { signal: _, ...options }, told, committing) {
    await told;
    committing();
    atomicWriteSync(path, data, options);
  },
  update: (path, fn, { signal: _, ...options }) =>
    inLine(async () => {
      const bytes = fs.existsSync(path) ? new Uint8Array(fs.readFileSync(path)) : null;
      atomicWriteSync(path, await fn(bytes), options);
    }),
};

const ofTheModel = { skip: !isDeno && "the model is the same on all runtimes" };

test("the model accepts calls that run sequentially", async () => {
  const wrong = await findWrong(sequential, from(1, PROGRAMS));
  if (wrong !== undefined) throw new Error(`Seed ${wrong.seed}`, { cause: wrong.error });
}, ofTheModel);

let failure: unknown;

/** Libraries that each have one fault. */
const broken: [string, Calls][] = [
  ["writes out of order", {
    ...sequential,
    write: async (path, data, options) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
      await sequential.write(path, data, options);
    },
  }],
  ["occasionally drops a write", {
    ...sequential,
    write: (path, data, options) =>
      Math.random() < 0.1 ? Promise.resolve() : sequential.write(path, data, options),
  }],
  ["forgets the mode", {
    ...sequential,
    write: (path, data, { mode: _, ...options }) => sequential.write(path, data, options),
  }],
  ["ignores createNew", {
    ...sequential,
    write: (path, data, { createNew: _, ...options }) => sequential.write(path, data, options),
  }],
  ["always replaces a link", {
    ...sequential,
    write: (path, data, options) =>
      sequential.write(path, data, { ...options, symlinks: "replace" }),
  }],
  ["lets an earlier write take effect after atomicWriteSync()", {
    ...sequential,
    write: async (path, data, options) => {
      await Promise.resolve();
      await sequential.write(path, data, options);
    },
  }],
  ["rejects the call after the one that failed", {
    ...sequential,
    write: async (path, data, options) => {
      const failed = failure;
      failure = undefined;
      try {
        await sequential.write(path, data, options);
      } catch (error) {
        failure = error;
        throw error;
      }
      if (failed !== undefined) throw failed;
    },
  }],
  ["updates without a lock", {
    ...sequential,
    update: async (path, fn, { signal: _, ...options }) => {
      const bytes = fs.existsSync(path) ? new Uint8Array(fs.readFileSync(path)) : null;
      atomicWriteSync(path, await fn(bytes), options);
    },
  }],
  ["publishes a stream before it has ended", {
    ...sequential,
    async write(path, data, { signal: _, ...options }) {
      if (typeof data === "string") return atomicWriteSync(path, data, options);
      let written = false;
      for await (const chunk of data as AsyncIterable<string>) {
        if (!written) atomicWriteSync(path, chunk, options);
        written = true;
      }
    },
  }],
  ["leaves a temporary file", {
    ...sequential,
    writeSync: (file, data, options) => {
      atomicWriteSync(file, data, options);
      fs.writeFileSync(`${path.dirname(file)}/.left`, "");
    },
  }],
];
const notThere = new Map([
  ["forgets the mode", isWindows && "Windows has no permission bits"],
  ["always replaces a link", isWindows && "the Windows programs use no links"],
  ["updates without a lock", isWine && "updates do not work under Wine"],
]);
for (const [what, calls] of broken) {
  test(`the model rejects a library that ${what}`, async () => {
    assert(await findWrong(calls, from(1, 300)) !== undefined);
  }, { skip: ofTheModel.skip || (notThere.get(what) ?? false) });
}

/** The state that all copies of the module share: a queue for each path. */
function turns(): Map<string, unknown> {
  const [key] = Object.getOwnPropertySymbols(globalThis)
    .filter(({ description }) => description?.startsWith("@aperture/atomic/turns/"));
  if (key === undefined) throw new Error("There are no queues");
  return (globalThis as unknown as Record<symbol, Map<string, unknown>>)[key]!;
}

test("the model rejects a library without a shared queue", () =>
  inTempDir(async (dir) => {
    await atomicWrite(path.join(dir, "file"), "The queues exist from now on.");
    const queues = turns();
    queues.get = () => undefined;
    try {
      assert(await findWrong(library, from(1, 300)) !== undefined);
    } finally {
      delete (queues as Partial<typeof queues>).get;
      queues.clear(); // The broken calls may have left entries.
    }
  }));
