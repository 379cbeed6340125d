/** Steps that pass by not throwing, and a last line that sums them up. */
export class Steps {
  #passed = 0;
  #failed = 0;

  /** One step. */
  async run(name: string, work: () => unknown): Promise<void> {
    try {
      await work();
      this.#passed++;
      console.log(`ok: ${name}`);
    } catch (error) {
      this.#failed++;
      console.log(`FAILED: ${name}\n${error instanceof Error ? error.message : error}`);
    }
  }

  /** Prints the last line; returns the exit code. */
  end(): number {
    console.log(`${this.#passed} passed, ${this.#failed} failed`);
    return this.#failed === 0 ? 0 : 1;
  }
}

/** Throws unless both are the same when written as JSON. */
export function expect(actual: unknown, expected: unknown): void {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== e) throw new Error(`Expected ${e}: got ${a}`);
}
