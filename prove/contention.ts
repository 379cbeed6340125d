import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Child } from "../tests/support/child.ts";
import { type Part, type Row, Tally } from "./part.ts";

/**
 * Many processes compete for one lock. The lock never has two holders, and every process gets its
 * share of turns.
 */
export const proveContention: Part = async ({ short, runtimes }) => {
  const rows: Row[] = [];
  // The six rows take a minute in total.
  const time = short ? 1_000 : 10_000;
  for (const processes of short ? [4] : [2, 8, 32]) {
    for (const shared of [0, 4]) {
      const tally = new Tally();
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), "prove-contention-"));
      const children = Array.from({ length: processes }, (_, i) => {
        return new Child("contend", [dir, time, shared, i], runtimes[i % runtimes.length]!.options);
      });
      const turns: number[] = [];
      let longest = 0;
      await Promise.all(children.map(async (child, i) => {
        for (;;) {
          const line = await child.line();
          const [what, ...rest] = line.split(" ");
          if (what === "overlap") tally.failures.push(line);
          else {
            turns[i] = Number(rest[0]);
            longest = Math.max(longest, Number(rest[1]));
            break;
          }
        }
        const code = await child.exit();
        if (code !== 0) tally.failures.push(`process ${i} ended with ${code}`);
      }));
      tally.trials = turns.reduce((sum, n) => sum + n, 0);
      const log = fs.readFileSync(path.join(dir, "log"), "utf8").trim().split("\n");
      const kept = log.filter((name, i) => i > 0 && name === log[i - 1]).length / log.length;
      const squares = turns.reduce((sum, n) => sum + n * n, 0);
      const fairness = tally.trials ** 2 / (processes * squares);
      if (Math.min(...turns) < 2) tally.failures.push(`starved: ${turns}`);
      fs.rmSync(dir, { recursive: true });
      rows.push(tally.row(
        `${processes} processes${
          shared > 0 ? ", three quarters of turns shared" : ""
        }: never two holders`,
        `turns ${Math.min(...turns)} to ${Math.max(...turns)}, Jain ${fairness.toFixed(2)}, ` +
          `longest wait ${longest} ms, ${Math.round(100 * kept)} % kept`,
      ));
    }
  }
  return rows;
};
