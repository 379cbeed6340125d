import * as fs from "node:fs";

interface JestReport {
  testResults: {
    assertionResults: { title: string; status: string; failureMessages: string[] }[];
  }[];
}

/** Runs steps and prints the totals on the last line. A step passes if it does not throw. */
export class Checklist {
  #passed = 0;
  #failed = 0;

  /** Runs one step. */
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

  /**
   * Turns each test named in `names` into a step. `report` is a test runner's report in Jest's JSON
   * format; a test missing from it fails.
   */
  async reported(of: string, report: string, names: readonly string[]): Promise<void> {
    const read = () => JSON.parse(fs.readFileSync(report, "utf8")) as JestReport;
    const tests = fs.existsSync(report)
      ? read().testResults.flatMap(({ assertionResults }) => assertionResults)
      : [];
    for (const name of names) {
      await this.run(`${of}: ${name}`, () => {
        const found = tests.find(({ title }) => title === name);
        if (found === undefined) throw new Error("It did not run");
        if (found.status !== "passed") throw new Error(found.failureMessages.join("\n"));
      });
    }
  }

  /** Prints the totals and returns the exit code. */
  end(): number {
    console.log(`${this.#passed} passed, ${this.#failed} failed`);
    return this.#failed === 0 ? 0 : 1;
  }
}

/** Throws unless both values serialize to the same JSON. */
export function expect(actual: unknown, expected: unknown): void {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== e) throw new Error(`Expected ${e}: got ${a}`);
}
