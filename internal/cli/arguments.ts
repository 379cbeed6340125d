import { parseArgs } from "node:util";
import type { WriteRequest } from "../write/request.ts";

/** What a command line asks for. */
export type CommandLine =
  | { readonly name: "help" | "version" }
  | {
    readonly name: "lock";
    readonly dir: string;
    readonly command: Invocation;
    readonly shared: boolean;
    /** In milliseconds; undefined waits for ever. */
    readonly timeout: number | undefined;
    readonly conflictCode: number;
    readonly lockFileName: string | undefined;
  }
  | {
    readonly name: "write";
    readonly file: string;
    readonly command: Invocation | undefined;
    readonly options: {
      readonly mode?: number;
      readonly durability?: WriteRequest["durability"];
      readonly createNew?: true;
      readonly parents?: true;
    };
  }
  | { readonly name: "sweep"; readonly dir: string; readonly olderThan: number | undefined }
  | { readonly name: "holders"; readonly dir: string; readonly lockFileName: string | undefined };

/** A command and its arguments. */
export type Invocation = readonly [command: string, ...args: string[]];

/** A command line that asks for nothing that there is. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The options of each command: those with a value, and those without one. */
const OPTIONS = {
  lock: {
    shared: { type: "boolean", short: "s" },
    exclusive: { type: "boolean", short: "x" },
    nonblock: { type: "boolean", short: "n" },
    try: { type: "boolean" },
    timeout: { type: "string", short: "w" },
    wait: { type: "string" },
    "conflict-code": { type: "string", short: "E" },
    "conflict-exit-code": { type: "string" },
    "lock-file": { type: "string" },
  },
  write: {
    mode: { type: "string" },
    durability: { type: "string" },
    "create-new": { type: "boolean" },
    parents: { type: "boolean" },
  },
  sweep: { "older-than": { type: "string" } },
  holders: { "lock-file": { type: "string" } },
} as const satisfies Record<string, Options>;

type Options = Record<string, { type: "boolean" | "string"; short?: string }>;

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads a command line.
 *
 * @throws {UsageError} If it asks for nothing that there is.
 */
export function readCommandLine(args: readonly string[]): CommandLine {
  const [name, ...rest] = args;
  switch (name) {
    case undefined:
      throw new UsageError("There must be a command: lock, write, sweep or holders");
    case "-h":
    case "--help":
    case "help":
      return { name: "help" };
    case "-V":
    case "--version":
      return { name: "version" };
    case "lock":
    case "write":
    case "sweep":
    case "holders": {
      const given = readArguments(rest, OPTIONS[name]);
      return given === "help" ? { name: "help" } : READERS[name](given);
    }
    default:
      throw new UsageError(`There is no command '${name}'`);
  }
}

/** What was given to a command: options, the first operand, and what comes behind it. */
interface Arguments {
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  readonly operand: string | undefined;
  readonly rest: readonly string[];
}

/** Reads options up to the first operand and right behind it; what is behind that is never read. */
function readArguments(args: readonly string[], options: Options): Arguments | "help" {
  const all: Options = { ...options, help: { type: "boolean", short: "h" } };
  const { tokens } = parseArgs({
    args: [...args],
    options: all,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const types = new Map(Object.entries(all).map(([name, { type }]) => [name, type]));
  const flags = new Set<string>();
  const values = new Map<string, string>();
  let operand: string | undefined;
  for (const token of tokens) {
    if (token.kind === "option") {
      const { name, rawName, value } = token;
      const type = types.get(name);
      if (type === undefined) throw new UsageError(`There is no option '${rawName}'`);
      if (type === "string") {
        if (value === undefined) throw new UsageError(`'${rawName}' must have a value`);
        values.set(name, value);
      } else {
        if (value !== undefined) throw new UsageError(`'${rawName}' takes no value`);
        if (name === "help") return "help";
        flags.add(name);
      }
    } else if (operand === undefined) {
      if (token.kind === "positional") operand = token.value;
    } else {
      const rest = args.slice(token.index);
      return { flags, values, operand, rest: rest[0] === "--" ? rest.slice(1) : rest };
    }
  }
  return { flags, values, operand, rest: [] };
}

const READERS: Record<keyof typeof OPTIONS, (given: Arguments) => CommandLine> = {
  lock(given) {
    const { flags, values, rest } = given;
    if (flags.has("shared") && flags.has("exclusive")) {
      throw new UsageError("The lock cannot be both shared and exclusive");
    }
    const dir = operandOf(given, "DIR");
    if (rest.length === 0) throw new UsageError("There must be a COMMAND behind DIR");
    const wait = values.get("timeout") ?? values.get("wait");
    const now = flags.has("nonblock") || flags.has("try");
    return {
      name: "lock",
      dir,
      command: rest as [string, ...string[]],
      shared: flags.has("shared"),
      timeout: now ? 0 : wait === undefined ? undefined : seconds(wait),
      conflictCode: exitCode(values.get("conflict-code") ?? values.get("conflict-exit-code")),
      lockFileName: lockFileName(values),
    };
  },

  write(given) {
    const { flags, values, rest } = given;
    const [mode, durability] = [values.get("mode"), values.get("durability")];
    return {
      name: "write",
      file: operandOf(given, "FILE"),
      command: rest.length === 0 ? undefined : rest as [string, ...string[]],
      options: {
        ...mode !== undefined && { mode: octal(mode) },
        ...durability !== undefined && { durability: durabilityOf(durability) },
        ...flags.has("create-new") && { createNew: true as const },
        ...flags.has("parents") && { parents: true as const },
      },
    };
  },

  sweep(given) {
    const olderThan = given.values.get("older-than");
    return {
      name: "sweep",
      dir: onlyOperandOf(given, "DIR"),
      olderThan: olderThan === undefined ? undefined : duration(olderThan),
    };
  },

  holders(given) {
    return {
      name: "holders",
      dir: onlyOperandOf(given, "DIR"),
      lockFileName: lockFileName(given.values),
    };
  },
};

function operandOf({ operand }: Arguments, name: string): string {
  if (operand === undefined || operand === "") throw new UsageError(`There must be a ${name}`);
  return operand;
}

function onlyOperandOf(given: Arguments, name: string): string {
  const [more] = given.rest;
  if (more !== undefined) throw new UsageError(`There must be one ${name} only: '${more}' is more`);
  return operandOf(given, name);
}

function seconds(text: string): number {
  if (!/^(\d+\.?\d*|\.\d+)$/.test(text)) {
    throw new UsageError(`A timeout must be a number of seconds: '${text}' is none`);
  }
  return Number(text) * 1_000;
}

function exitCode(text = "75"): number {
  if (!/^\d{1,3}$/.test(text) || Number(text) > 255) {
    throw new UsageError(`An exit code must be a number from 0 to 255: '${text}' is none`);
  }
  return Number(text);
}

function lockFileName(values: ReadonlyMap<string, string>): string | undefined {
  const name = values.get("lock-file");
  if (name !== undefined && (/^\.{0,2}$/.test(name) || /[/\\\0]/.test(name))) {
    throw new UsageError(`A lock file must be a name in DIR: '${name}' is none`);
  }
  return name;
}

function octal(text: string): number {
  if (!/^(0o?)?[0-7]{1,4}$/.test(text)) {
    throw new UsageError(`A mode must be octal, from 0 to 7777: '${text}' is not`);
  }
  return parseInt(text.replace("o", ""), 8);
}

function durabilityOf(text: string): WriteRequest["durability"] {
  if (text !== "none" && text !== "consistent" && text !== "durable") {
    throw new UsageError(`A durability must be none, consistent or durable: '${text}' is not`);
  }
  return text;
}

function duration(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? [];
  if (unit === undefined) {
    throw new UsageError(`A duration must be like 30s, 10m, 2h or 1d: '${text}' is not`);
  }
  return Number(number) * UNITS[unit]!;
}
