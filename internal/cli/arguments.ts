import { parseArgs } from "node:util";
import type { Durability } from "../write/request.ts";
import { UsageError } from "./errors.ts";

/** A flag. */
export const flag = { type: "boolean" } as const;

/** An option that takes a value, with a description of the valid values. */
export interface Value<T> {
  readonly type: "string";
  readonly expects: string;
  /** Converts the value; returns undefined if it is invalid. */
  read(text: string): T | undefined;
}

/** A flag or an option that takes a value, in the form that parseArgs() expects. */
type Option = { readonly short?: string } & (Value<unknown> | typeof flag);
type Options = Readonly<Record<string, Option>>;

/** The values of the options that were given; a flag's value is `true`. */
type Values<O extends Options> = {
  readonly [N in keyof O]?: O[N] extends Value<infer T> ? T : true;
};

/** The parsed arguments of a command. */
export interface Arguments<V = Readonly<Record<string, unknown>>> {
  readonly options: V;
  /** The first argument that is not an option: DIR or FILE. */
  readonly operand: string;
  /** Everything after the operand and its options, including any `--`. */
  readonly rest: readonly string[];
}

/** One of the commands of `aperture-atomic`. */
export interface Command {
  /** Parses the command's arguments; returns `"help"` if they request help. */
  read(args: readonly string[]): Arguments | "help";
  /** Runs the command and returns its exit code. */
  run(given: Arguments): Promise<number>;
}

/** Creates a command with an operand, such as DIR, and options. `run` returns its exit code. */
export function command<const O extends Options>(
  operandName: string,
  options: O,
  run: (given: Arguments<Values<O>>) => Promise<number>,
): Command {
  return {
    read: (args) => readArguments(args, operandName, options),
    run: (given) => run(given as Arguments<Values<O>>),
  };
}

/**
 * Parses the options before and directly after the operand. All later arguments are left unparsed.
 */
function readArguments(
  args: readonly string[],
  operandName: string,
  options: Options,
): Arguments | "help" {
  const all: Options = { ...options, help: { ...flag, short: "h" } };
  const { tokens } = parseArgs({
    args: [...args],
    options: all,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given: Record<string, unknown> = {};
  let operand: string | undefined;
  let rest: readonly string[] = [];
  for (const token of tokens) {
    if (token.kind === "option") {
      const { name, rawName, value } = token;
      if (!Object.keys(all).includes(name)) throw new UsageError(`Unknown option '${rawName}'`);
      const option = all[name]!;
      if (option.type === "boolean") {
        if (value !== undefined) throw new UsageError(`Option '${rawName}' does not take a value`);
        if (name === "help") return "help";
        given[name] = true;
        continue;
      }
      given[name] = value === undefined ? undefined : option.read(value);
      if (given[name] !== undefined) continue;
      const received = value === undefined ? "nothing" : `'${value}'`;
      throw new UsageError(`Option '${rawName}' requires ${option.expects}: received ${received}`);
    } else if (operand !== undefined) {
      rest = args.slice(token.index);
      break;
    } else if (token.kind === "positional") operand = token.value;
  }
  if (!operand) throw new UsageError(`Missing ${operandName}`);
  return { options: given, operand, rest };
}

/** Throws if there are arguments after the operand. */
export function refuseMore({ operand, rest }: Arguments): void {
  if (rest.length > 0) throw new UsageError(`Unexpected argument '${rest[0]}' after '${operand}'`);
}

/** A program and its arguments. */
export type Invocation = readonly [program: string, ...args: string[]];

/** The command line to run: everything after the operand and an optional `--`. */
export function invocationOf({ operand, rest }: Arguments): Invocation {
  const [program, ...args] = rest[0] === "--" ? rest.slice(1) : rest;
  if (!program) throw new UsageError(`Missing COMMAND after '${operand}'`);
  return [program, ...args];
}

function takes<T>(expects: string, read: (text: string) => T | undefined): Value<T> {
  return { type: "string", expects, read };
}

/** A number of seconds, converted to milliseconds. */
export const seconds: Value<number> = takes("a number of seconds, such as 10 or 0.5", (text) => {
  return /^(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) * 1_000 : undefined;
});

/** An exit code. */
export const exitCode: Value<number> = takes("a number from 0 to 255", (text) => {
  return /^\d{1,3}$/.test(text) && Number(text) < 256 ? Number(text) : undefined;
});

/** The name of a lock file. */
export const lockFileName: Value<string> = takes("a file name without a directory", (text) => {
  return /^\.{0,2}$|[/\\]/.test(text) ? undefined : text;
});

/** Permission bits. */
export const octal: Value<number> = takes("an octal number from 0 to 7777", (text) => {
  return /^(0o?)?[0-7]{1,4}$/.test(text) ? parseInt(text.replace("o", ""), 8) : undefined;
});

/** A durability. */
export const durability: Value<Durability> = takes("none, consistent or durable", (text) => {
  return (["none", "consistent", "durable"] as const).find((each) => each === text);
});

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration with a unit, converted to milliseconds. */
export const duration: Value<number> = takes("a duration such as 30s, 10m, 2h or 1d", (text) => {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? [];
  return unit === undefined ? undefined : Number(number) * UNITS_MS[unit as keyof typeof UNITS_MS];
});
