import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import type { ChildOptions } from "../tests/support/child.ts";

/** The result for one guarantee. */
export interface Row {
  readonly guarantee: string;
  readonly method: string;
  readonly trials: number;
  readonly failures: readonly string[];
  /** The check could not run; `method` says why. */
  readonly skipped?: boolean;
}

/** How thorough the proof is. */
export interface Scale {
  /** Whether to run the short form, which takes seconds instead of minutes. */
  readonly short: boolean;
  /** How long the soak takes, in minutes. */
  readonly soak: number;
  /** The runtimes that take part. */
  readonly runtimes: readonly Runtime[];
}

/** A runtime, and how to start a worker on it. */
export interface Runtime {
  readonly name: string;
  readonly options: ChildOptions;
}

/**
 * A part of the proof. A part whose requirements are not met returns no rows, or a row that is
 * marked as skipped.
 */
export type Part = (scale: Scale) => Promise<Row[]>;

/** Counts trials and collects failures. */
export class Tally {
  trials = 0;
  readonly failures: string[] = [];

  /** Runs one trial, which fails by throwing. */
  async try(name: string, trial: () => unknown): Promise<void> {
    this.trials++;
    try {
      await trial();
    } catch (error) {
      this.failures.push(`${name}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Returns the row for these trials. */
  row(guarantee: string, method: string): Row {
    return { guarantee, method, trials: this.trials, failures: this.failures };
  }
}

/** The repository's root. */
export const root: string = fileURLToPath(new URL("..", import.meta.url));

/** A change to a source file that breaks a guarantee. */
export interface Edit {
  readonly file: string;
  /** Must occur in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** Returns the source with the edit applied. */
export function broken(dir: string, { file, find, replace }: Edit): string {
  const source = fs.readFileSync(path.join(dir, file), "utf8");
  if (source.split(find).length !== 2) throw new Error("there is no one place to break");
  return source.replace(find, () => replace);
}

/** Throws unless both values have the same JSON text. */
export function same(actual: unknown, expected: unknown): void {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== e) throw new Error(`expected ${e}, got ${a}`);
}

/** Processes all items, at most `count` at a time. */
export async function inParallel<T>(
  items: readonly T[],
  count: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  await Promise.all(Array.from({ length: count }, async () => {
    for (const item of rest) await work(item);
  }));
}
