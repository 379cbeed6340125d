import { fileURLToPath } from "node:url";
import type { ChildOptions } from "../tests/support/child.ts";

/** What was found out about a guarantee. */
export interface Row {
  readonly guarantee: string;
  readonly method: string;
  readonly trials: number;
  readonly failures: readonly string[];
  /** It could not be run; `method` says why. */
  readonly skipped?: boolean;
}

/** How much there is to do. */
export interface Scale {
  /** A few seconds, for every run of the tests, rather than a few minutes. */
  readonly short: boolean;
  /** How long the soak is to take, in minutes. */
  readonly soak: number;
  /** The runtimes that take part. */
  readonly runtimes: readonly Runtime[];
}

/** A runtime, and how a worker is started on it. */
export interface Runtime {
  readonly name: string;
  readonly options: ChildOptions;
}

/** A part of the proof; no rows where what it needs is missing. */
export type Part = (scale: Scale) => Promise<Row[]>;

/** Counts trials and collects failures. */
export class Tally {
  trials = 0;
  readonly failures: string[] = [];

  /** One trial, which fails by throwing. */
  async try(name: string, trial: () => unknown): Promise<void> {
    this.trials++;
    try {
      await trial();
    } catch (error) {
      this.failures.push(`${name}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** The row that this makes. */
  row(guarantee: string, method: string): Row {
    return { guarantee, method, trials: this.trials, failures: this.failures };
  }
}

/** The top of the repository. */
export const root: string = fileURLToPath(new URL("..", import.meta.url));

/** Throws unless both are the same when written as JSON. */
export function same(actual: unknown, expected: unknown): void {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== e) throw new Error(`expected ${e}, got ${a}`);
}

/** `items` by `count` at a time. */
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
