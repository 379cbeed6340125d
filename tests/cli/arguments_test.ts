import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Command } from "../../internal/cli/arguments.ts";
import { UsageError } from "../../internal/cli/errors.ts";
import { holders } from "../../internal/cli/holders.ts";
import { lock } from "../../internal/cli/lock.ts";
import { sweep } from "../../internal/cli/sweep.ts";
import { write } from "../../internal/cli/write.ts";
import { test } from "../support/test.ts";

/** Parses a command line; returns its options, operand and remaining arguments, or "help". */
function parsed(command: Command, line: string): unknown[] | "help" {
  const given = command.read(line.split(" "));
  return given === "help" ? given : [given.options, given.operand, given.rest.join(" ")];
}

test("a command parses options only before and directly after its operand", () => {
  assertEquals(parsed(lock, "d c"), [{}, "d", "c"]);
  assertEquals(parsed(lock, "d c -n -- -s"), [{}, "d", "c -n -- -s"]);
  assertEquals(parsed(lock, "d -- c -n"), [{}, "d", "-- c -n"]);
  assertEquals(parsed(lock, "-s d -n -- c"), [{ shared: true, nonblock: true }, "d", "-- c"]);
  assertEquals(parsed(lock, "-- -d c"), [{}, "-d", "c"]);
  assertEquals(parsed(lock, "-- -d -- -c -n"), [{}, "-d", "-- -c -n"]);
  assertEquals(parsed(write, "f --"), [{}, "f", "--"]);
});

test("a command parses --help only before COMMAND", () => {
  assertEquals(parsed(lock, "--help"), "help");
  assertEquals(parsed(sweep, "d -h"), "help");
  assertEquals(parsed(lock, "d -- c --help"), [{}, "d", "-- c --help"]);
});

test("a command parses short options, grouped and with a value attached", () => {
  const options = { shared: true, timeout: 2_500, "conflict-code": 9 };
  assertEquals(parsed(lock, "-sw 2.5 -E9 d c"), [options, "d", "c"]);
  assertEquals(parsed(lock, "-w.5 d c"), [{ timeout: 500 }, "d", "c"]);
});

test("a command parses long options with and without an attached value", () => {
  const options = { wait: 1_000, "conflict-exit-code": 0, exclusive: true, "lock-file": "l" };
  const line = "--wait=1 --conflict-exit-code 0 --exclusive --lock-file l d c";
  assertEquals(parsed(lock, line), [options, "d", "c"]);
});

test("write parses its options", () => {
  const options = { mode: 0o640, durability: "durable", "create-new": true, parents: true };
  const line = "--mode 0640 --durability=durable --create-new --parents f";
  assertEquals(parsed(write, line), [options, "f", ""]);
});

test("sweep parses durations", () => {
  const cases = { "0s": 0, "250ms": 250, "30s": 3e4, "1.5m": 9e4, "2h": 7.2e6, "1d": 8.64e7 };
  for (const [text, milliseconds] of Object.entries(cases)) {
    assertEquals(parsed(sweep, `--older-than ${text} d`), [
      { "older-than": milliseconds },
      "d",
      "",
    ]);
  }
});

for (
  const [command, line, message] of [
    [lock, "-s", "Missing DIR"],
    [lock, "d", "Missing COMMAND after 'd'"],
    [lock, "d --", "Missing COMMAND after 'd'"],
    [lock, "d -- ", "Missing COMMAND after 'd'"],
    [lock, " c", "Missing DIR"],
    [lock, "--bad d c", "Unknown option '--bad'"],
    [lock, "--__proto__ d c", "Unknown option '--__proto__'"],
    [lock, "d -c command", "Unknown option '-c'"],
    [lock, "-sx d c", "--shared and --exclusive cannot be combined"],
    [lock, "--shared=1 d c", "Option '--shared' does not take a value"],
    [lock, "-w", "Option '-w' requires a number of seconds, such as 10 or 0.5: received nothing"],
    [
      lock,
      "-w -1 d c",
      "Option '-w' requires a number of seconds, such as 10 or 0.5: received '-1'",
    ],
    [
      lock,
      "-w 1e3 d c",
      "Option '-w' requires a number of seconds, such as 10 or 0.5: received '1e3'",
    ],
    [lock, "-E 256 d c", "Option '-E' requires a number from 0 to 255: received '256'"],
    [lock, "-E -1 d c", "Option '-E' requires a number from 0 to 255: received '-1'"],
    [
      lock,
      "--lock-file a/b d c",
      "Option '--lock-file' requires a file name without a directory: received 'a/b'",
    ],
    [
      holders,
      "--lock-file .. d",
      "Option '--lock-file' requires a file name without a directory: received '..'",
    ],
    [write, "--parents", "Missing FILE"],
    [write, "f --", "Missing COMMAND after 'f'"],
    [write, "f true", "Unexpected argument 'true' after 'f': use -- COMMAND"],
    [write, "--mode 8 f", "Option '--mode' requires an octal number from 0 to 7777: received '8'"],
    [
      write,
      "--mode 17777 f",
      "Option '--mode' requires an octal number from 0 to 7777: received '17777'",
    ],
    [
      write,
      "--durability much f",
      "Option '--durability' requires none, consistent or durable: received 'much'",
    ],
    [sweep, "a b", "Unexpected argument 'b' after 'a'"],
    [
      sweep,
      "--older-than 3 d",
      "Option '--older-than' requires a duration such as 30s, 10m, 2h or 1d: received '3'",
    ],
    [holders, "a b", "Unexpected argument 'b' after 'a'"],
    [holders, "--shared d", "Unknown option '--shared'"],
  ] as const
) {
  const name = new Map([[lock, "lock"], [write, "write"], [sweep, "sweep"], [holders, "holders"]]);
  test(`${name.get(command)} refuses the arguments \`${line}\``, async () => {
    await assertRejects(
      async () => {
        const given = command.read(line.split(" "));
        if (given !== "help") await command.run(given);
      },
      UsageError,
      message,
    );
  });
}

test("lock refuses an empty command line", () => {
  assertThrows(() => lock.read([]), UsageError, "Missing DIR");
});
