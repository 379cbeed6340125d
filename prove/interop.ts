import { type Part, root, Tally } from "./part.ts";

/** Runs and counts the tests that check that other programs and runtimes respect the same lock. */
export const proveInterop: Part = async () => {
  const imports: string[] = JSON.parse(Deno.env.get("APERTURE_DENO_ARGS") ?? "[]");
  const tally = new Tally();
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["test", "-A", "--no-check", ...imports],
      ...["tests/lock/interop_test.ts", "tests/lock/runtimes_test.ts"],
    ],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  const output = new TextDecoder().decode(stdout);
  const count = (what: string) => Number(new RegExp(`\\| (\\d+) ${what}`).exec(output)?.[1] ?? 0);
  const passed = Number(/(\d+) passed/.exec(output)?.[1] ?? 0);
  tally.trials = passed + count("failed");
  for (const [, title] of output.matchAll(/^(.*) \.\.\. FAILED/gm)) tally.failures.push(title!);
  if (passed === 0) tally.failures.push(new TextDecoder().decode(stderr));
  const missing = [...output.matchAll(/\((.*)\) \.\.\. ignored/g)].map(([, reason]) => reason!);
  const without = missing.length > 0 ? `; skipped: ${[...new Set(missing)].join(", ")}` : "";
  return [tally.row(
    "Other programs and this library exclude each other",
    `flock(1), Python, Rust's fs2, Deno, Node, Bun${without}`,
  )];
};
