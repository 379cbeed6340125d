/** What takes part in a contest. */
export interface Contender {
  readonly name: string;
  /** What is timed, until the promise that it returns is settled. */
  run(): unknown;
}

/** What was measured of one contender, in milliseconds if nothing else is said. */
export interface Measure {
  readonly lower: number;
  readonly median: number;
  readonly upper: number;
  readonly samples: number;
}

/** How long a contest goes on: until either number is reached. */
export interface Length {
  readonly rounds: number;
  readonly seconds: number;
  /**
   * How many calls a turn has, of which the mean is taken: the first call after another
   * contender's pays for what that threw out of the processor's caches.
   */
  readonly calls: number;
}

/** Median and quartiles. */
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
 * Runs the contenders in turns, so that all of them meet the same machine. Another one begins
 * each round, lest one always pays for what the one before it left to be done.
 */
export async function interleave(
  contenders: readonly Contender[],
  { rounds, seconds, calls }: Length,
): Promise<Record<string, Measure>> {
  const times = contenders.map(() => [] as number[]);
  // What is called thousands of times is compiled only after a thousand; what is not, is not.
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
