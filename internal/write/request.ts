import type { Awaitable, FileSystem } from "../../runtime/types.ts";
import { withContext } from "../base/errors.ts";
import { type Checks, isBoolean, isMode, isOneOf, isSignal } from "../base/options.ts";
import { absolutePath, type PathArgument } from "../base/paths.ts";
import type { Steps } from "../base/steps.ts";

/** The options of a write, as callers give them. */
export interface WriteOptions {
  durability?: "none" | "consistent" | "durable";
  mode?: number;
  createNew?: boolean;
  symlinks?: "follow" | "replace";
  parents?: boolean;
  fallback?: "in-place";
  signal?: AbortSignal;
}

/** The options of a write that is synchronous. */
export const WRITE_SYNC_OPTIONS: Checks<Omit<WriteOptions, "signal">> = {
  durability: isOneOf("none", "consistent", "durable"),
  mode: isMode,
  createNew: isBoolean,
  symlinks: isOneOf("follow", "replace"),
  parents: isBoolean,
  fallback: isOneOf("in-place"),
};

/** The options of a write. */
export const WRITE_OPTIONS: Checks<WriteOptions> = { ...WRITE_SYNC_OPTIONS, signal: isSignal };

/** A call to write, checked. */
export interface WriteRequest {
  /** Absolute. */
  readonly path: string;
  readonly durability: "none" | "consistent" | "durable";
  readonly mode: number | undefined;
  readonly createNew: boolean;
  readonly symlinks: "follow" | "replace";
  readonly parents: boolean;
  readonly fallback: "in-place" | undefined;
  readonly signal: AbortSignal | undefined;
  /** Throws if the lock is lost under which the content was made. */
  readonly verify?: (path: string) => void;
  /** Directories that were made for it before, which are to be as durable as the file. */
  readonly createdDirs?: readonly string[];
  /** The path of the call, in whose queue the write is: a link to {@linkcode WriteRequest.path}. */
  readonly calledAs?: string;
}

/** What a call asks for, from options that were read. */
export function writeRequest(path: PathArgument, options: WriteOptions): WriteRequest {
  const {
    durability = "consistent",
    mode,
    createNew = false,
    symlinks = "follow",
    parents = false,
    fallback,
    signal,
  } = options;
  if (createNew && fallback !== undefined) {
    throw new RangeError("'fallback' goes with a file that is there, 'createNew' with none");
  }
  const absolute = absolutePath(path);
  return { path: absolute, durability, mode, createNew, symlinks, parents, fallback, signal };
}

/** A call whose failure fails the request. */
export function* step<T>(
  request: WriteRequest,
  name: string,
  make: (fs: FileSystem) => Awaitable<T>,
): Steps<T> {
  try {
    return (yield make) as T;
  } catch (error) {
    throw failure(error, request, name);
  }
}

/** The error of a step, with what an {@linkcode AtomicWriteError} tells. */
export function failure(
  error: unknown,
  { path }: WriteRequest,
  step: string,
  facts: { replaced?: boolean; temp?: string } = {},
): unknown {
  return withContext(error, `Cannot write '${path}' (${step})`, {
    step,
    target: path,
    replaced: false,
    ...facts,
  });
}
