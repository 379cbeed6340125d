/** One of the implementations that a contest compares. */
export interface Contender {
  readonly name: string;
  /** The code to time. Timing stops when the returned promise settles. */
  run(): unknown;
}

/** A contender's result, in milliseconds unless its row specifies another unit. */
export interface Measure {
  readonly lower: number;
  readonly median: number;
  readonly upper: number;
  readonly samples: number;
}

/** The limits of a contest, which ends when either is reached. */
export interface Length {
  readonly rounds: number;
  readonly seconds: number;
  /**
   * The number of calls per turn; the result is their mean duration. The first call of a turn is
   * slower, because the previous contender has evicted data from the processor's caches.
   */
  readonly calls: number;
}

/** The median and the quartiles. */
export function measureOf(samples: readonly number[]): Measure {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (part: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
  return {
    lower: at(0.25),
    median: at(0.5),
    upper: at(0.75),
    samples: sorted.length,
  };
}

/**
 * Lets the contenders take turns, so that all of them run under the same conditions. Each round
 * starts with a different contender, so that none of them always goes first.
 */
export async function interleave(
  contenders: readonly Contender[],
  { rounds, seconds, calls }: Length,
): Promise<Record<string, Measure>> {
  const times = contenders.map(() => [] as number[]);
  // The engine optimizes hot code only after about a thousand calls.
  const warmUp = rounds < 100 ? 0 : 2_000;
  const warm = performance.now() + seconds * 500;
  let end = Infinity;
  let isWarm = warmUp === 0;
  for (let round = 0, counted = 0; counted < rounds && performance.now() < end; round++) {
    if (isWarm && end === Infinity) end = performance.now() + seconds * 1_000;
    for (let turn = 0; turn < contenders.length; turn++) {
      const i = (round + turn) % contenders.length;
      const started = performance.now();
      for (let call = 0; call < calls; call++) {
        const pending = contenders[i]!.run();
        if (pending instanceof Promise) await pending;
      }
      const time = (performance.now() - started) / calls;
      if (isWarm) times[i]!.push(time);
    }
    if (isWarm) counted++;
    isWarm ||= round >= warmUp || performance.now() > warm;
  }
  return Object.fromEntries(
    contenders.map(({ name }, i) => [name, measureOf(times[i]!)]),
  );
}
