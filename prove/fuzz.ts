import fc from "fast-check";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import {
  AtomicFile,
  atomicUpdate,
  atomicWrite,
  atomicWriteSync,
  DirLock,
  isTempName,
} from "../mod.ts";
import { recorded } from "../tests/support/runtime.ts";
import { type Part, Tally } from "./part.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const good = {
  durability: fc.constantFrom("none", "consistent", "durable"),
  mode: fc.integer({ min: 0o400, max: 0o7777 }).map((mode) => mode | 0o600),
  createNew: fc.boolean(),
  symlinks: fc.constantFrom("follow", "replace"),
};
const goodLock = {
  shared: fc.boolean(),
  lockFileName: fc.constantFrom(".aperture.lock", "other.lock"),
  timeout: fc.integer({ min: 0, max: 5 }),
};
const anything = fc.anything({ withBigInt: true, withDate: true, withTypedArray: true });

/** Generates options that are all valid, all invalid, or valid with a few exceptions. */
function options(of: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> {
  const mixed = Object.fromEntries(
    Object.entries(of).map(([name, value]) => [
      name,
      fc.oneof({ arbitrary: value, weight: 6 }, { arbitrary: anything, weight: 1 }),
    ]),
  );
  return fc.oneof(
    { arbitrary: fc.record(of, { requiredKeys: [] }), weight: 4 },
    { arbitrary: fc.record(mixed, { requiredKeys: [] }), weight: 4 },
    { arbitrary: anything, weight: 1 },
  );
}

const data = fc.oneof(
  { arbitrary: fc.string(), weight: 3 },
  { arbitrary: fc.uint8Array({ maxLength: 2_000 }), weight: 3 },
  { arbitrary: fc.float32Array({ maxLength: 50 }), weight: 1 },
  { arbitrary: anything, weight: 1 },
);

/**
 * Whatever its arguments, a call either does what the documentation says or throws a TypeError or
 * RangeError before it touches the disk.
 */
export const proveFuzz: Part = async ({ short }) => {
  const tally = new Tally();
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "prove-fuzz-"));
  const file = path.join(dir, "file");
  const numRuns = short ? 200 : 10_000;

  /** Runs `call` in a directory that contains an old file. */
  const holds = async (call: () => unknown, content?: Any): Promise<boolean> => {
    fs.rmSync(dir, { recursive: true, force: true });
    fs.mkdirSync(dir);
    fs.writeFileSync(file, "old");
    let error: Any;
    const calls = await recorded(async () => {
      try {
        await call();
      } catch (thrown) {
        error = thrown;
      }
    });
    if (fs.readdirSync(dir).some(isTempName)) return false;
    fs.chmodSync(file, 0o600); // The requested mode may deny access to everyone except root.
    const found = fs.readFileSync(file);
    if (error === undefined) return content === undefined || found.equals(bytesOf(content));
    if (found.toString() !== "old") return false;
    if (error instanceof TypeError || error instanceof RangeError) return calls.length === 0;
    return ["EEXIST", "ETIMEDOUT"].includes(error.code);
  };

  const properties: Record<string, fc.IAsyncProperty<Any>> = {
    "atomicWrite()": fc.asyncProperty(
      data,
      options(good),
      (content, given) => holds(() => atomicWrite(file, content as Any, given as Any), content),
    ),
    "atomicWriteSync()": fc.asyncProperty(
      data,
      options(good),
      (content, given) => holds(() => atomicWriteSync(file, content as Any, given as Any), content),
    ),
    "AtomicFile": fc.asyncProperty(options(good), (given) =>
      holds(async () => {
        await using draft = await AtomicFile.open(file, given as Any);
        await draft.write("new");
      })),
    "DirLock.acquire()": fc.asyncProperty(
      options(goodLock),
      (given) => holds(async () => (await DirLock.acquire(dir, given as Any)).release()),
    ),
    "DirLock.acquireSync()": fc.asyncProperty(
      options(goodLock),
      (given) => holds(() => DirLock.acquireSync(dir, given as Any).release()),
    ),
    "atomicUpdate()": fc.asyncProperty(
      options({ ...good, lock: options(goodLock) }),
      (given) => holds(() => atomicUpdate(file, () => "new", given as Any)),
    ),
    "a path": fc.asyncProperty(
      fc.oneof(anything, fc.webUrl().map((url) => new URL(url)), fc.constant("a\0b")),
      (given) =>
        // Skip valid paths, whether text or bytes, because the call would write to them.
        typeof given === "string" && !given.includes("\0") && given !== "" ||
          ArrayBuffer.isView(given)
          ? Promise.resolve(true)
          : holds(() => atomicWrite(given as Any, "x")),
    ),
  };
  for (const [name, property] of Object.entries(properties)) {
    await tally.try(name, async () => {
      const result = await fc.check(property, { numRuns });
      tally.trials += result.numRuns - 1;
      if (result.failed) throw new Error(fc.stringify(result.counterexample).slice(0, 500));
    });
  }
  fs.rmSync(dir, { recursive: true, force: true });
  return [tally.row("Invalid arguments are rejected before the disk is touched", "fast-check")];
};

/** Returns the content as bytes; an array is a list of chunks. */
function bytesOf(content: Any): Uint8Array {
  if (Array.isArray(content)) {
    // A surrogate pair may be split between two strings.
    if (content.every((chunk) => typeof chunk === "string")) return bytesOf(content.join(""));
    return Uint8Array.from(content.flatMap((chunk) => [...bytesOf(chunk)]));
  }
  if (typeof content === "string") return new TextEncoder().encode(content);
  if (content instanceof ArrayBuffer) return new Uint8Array(content);
  return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
}
