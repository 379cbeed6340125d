/**
 * Keep a value in a JSON file that several programs read and change.
 *
 * {@linkcode updateJson} reads the file, hands its value to a function and writes what that
 * returns, under the directory's lock, so that no change is lost; a reader sees the old file or
 * the new, whole. A file that is empty or corrupt is an error, never a default, and is never
 * overwritten.
 *
 * ```ts
 * import { readJson, updateJson } from "@aperture/atomic/json";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/settings.json`;
 * await updateJson<{ theme?: string }>(path, (settings = {}) => ({ ...settings, theme: "dark" }));
 * assertEquals(await readJson(path), { theme: "dark" });
 * ```
 *
 * @module
 */

import {
  atomicWrite,
  type AtomicWriteOptions,
  atomicWriteSync,
  type AtomicWriteSyncOptions,
} from "./atomic.ts";
import { JsonFileError } from "./internal/json/error.ts";
import { changeOf, isIndent, textOf, valueOf } from "./internal/json/value.ts";
import { type Checks, isFunction, readOptions } from "./internal/base/options.ts";
import { absolutePath } from "./internal/base/paths.ts";
import {
  WRITE_OPTIONS as ATOMIC_WRITE_OPTIONS,
  WRITE_SYNC_OPTIONS as ATOMIC_WRITE_SYNC_OPTIONS,
} from "./internal/write/request.ts";
import { readInTurn, readInTurnSync } from "./internal/order/read_turn.ts";
import { ignoreFailure } from "./internal/base/steps.ts";
import {
  atomicUpdate,
  type AtomicUpdateOptions,
  atomicUpdateSync,
  type AtomicUpdateSyncOptions,
} from "./update.ts";

export { JsonFileError };

/** Options for {@linkcode readJson} and {@linkcode readJsonSync}. */
export interface ReadJsonOptions<T> {
  /**
   * Gets the value of the file and returns it, as it is or made into something else, or throws
   * when it is not as it must be: the `parse` of a schema, or any function. It must not return a
   * promise.
   */
  check?: (value: unknown) => T;
}

/** How {@linkcode writeJson} and {@linkcode updateJson} write a value. */
export interface JsonFormatOptions {
  /**
   * What each level is indented by: a number of spaces from 0 to 10, or a string of at most 10
   * spaces and tabs. 0 and "" put everything on one line.
   *
   * By default it is that of the file that {@linkcode updateJson} changes, if it has no more than
   * 64 characters, else 2.
   */
  indent?: number | string;
  /**
   * Gets what is about to be written, as it will be read, and throws when it is not as it must
   * be; what it returns is not used. {@linkcode updateJson} calls it with the value that it has
   * read too, and hands on what that returns. It must not return a promise.
   */
  check?: (value: unknown) => unknown;
}

/** Options for {@linkcode writeJsonSync}. */
export interface WriteJsonSyncOptions extends AtomicWriteSyncOptions, JsonFormatOptions {}

/** Options for {@linkcode writeJson}. */
export interface WriteJsonOptions extends AtomicWriteOptions, JsonFormatOptions {}

/** Options for {@linkcode updateJson}. */
export interface UpdateJsonOptions<T> extends AtomicUpdateOptions, JsonFormatOptions {
  /**
   * Gets the value of the file and returns what the function is to get, or throws when it is not
   * as it must be: the `parse` of a schema, or any function. Before the file is written, it is
   * called with what will be read, and may throw again. It must not return a promise.
   */
  check?: (value: unknown) => T;
}

/** Options for {@linkcode updateJsonSync}. */
export interface UpdateJsonSyncOptions<T> extends AtomicUpdateSyncOptions, JsonFormatOptions {
  /** As for {@linkcode updateJson}. */
  check?: (value: unknown) => T;
}

/**
 * Reads the value of a JSON file, or undefined if there is no file.
 *
 * It takes no lock and needs none: a file that is replaced atomically is always whole. What this
 * process was told to write to the file before is written first. A byte order mark is skipped.
 * Integers beyond 2^53 are rounded, and numbers beyond 1.8e308 are Infinity, as `JSON.parse()` has
 * it: keep them in strings. The file is read into memory, and parsed without giving up the thread.
 *
 * Requires `--allow-read` permission for the file, and for a symbolic link that leads to it.
 *
 * @typeParam T What `check` returns; without one the value is taken for it unseen.
 *
 * @param path The file, as a path or a `file:` URL.
 * @param options How to check the value.
 * @throws {TypeError} If an argument is of the wrong type, an option unknown, or `check` returns
 * a promise.
 * @throws {JsonFileError} If the file is empty or corrupt, or `check` throws.
 * @throws {Error} If the file cannot be read: the runtime's own error class, with its `code`.
 * @returns A promise of the value, undefined if there is no file.
 *
 * @example Usage
 * ```ts
 * import { readJson, writeJson } from "@aperture/atomic/json";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/settings.json`;
 * const { theme } = await readJson<{ theme: string }>(path) ?? { theme: "light" };
 * assertEquals(theme, "light");
 * await writeJson(path, { theme: "dark" });
 * assertEquals(await readJson(path), { theme: "dark" });
 * ```
 *
 * @example With a check
 * ```ts
 * import { JsonFileError, readJson } from "@aperture/atomic/json";
 * import { assertRejects } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/port.json`;
 * await Deno.writeTextFile(path, '"eighty"');
 * const check = (value: unknown): number => {
 *   if (typeof value !== "number") throw new TypeError("A port must be a number");
 *   return value;
 * };
 * await assertRejects(() => readJson(path, { check }), JsonFileError, "A port must be a number");
 * ```
 */
export async function readJson<T = unknown>(
  path: string | URL | Uint8Array,
  options?: ReadJsonOptions<T>,
): Promise<T | undefined> {
  const { check } = readOptions<ReadJsonOptions<T>>(options, READ_OPTIONS);
  const absolute = absolutePath(path);
  return valueOf(absolute, (await readInTurn({ path: absolute })).bytes, check);
}

/**
 * Reads the value of a JSON file, or undefined if there is no file: the synchronous form of
 * {@linkcode readJson}.
 *
 * Requires `--allow-read` permission for the file, and for a symbolic link that leads to it.
 *
 * @typeParam T What `check` returns; without one the value is taken for it unseen.
 *
 * @param path The file, as a path or a `file:` URL.
 * @param options How to check the value.
 * @throws {TypeError} If an argument is of the wrong type, an option unknown, or `check` returns
 * a promise.
 * @throws {JsonFileError} If the file is empty or corrupt, or `check` throws.
 * @throws {Error} If the file cannot be read: the runtime's own error class, with its `code`.
 * @returns The value, undefined if there is no file.
 *
 * @example Usage
 * ```ts
 * import { readJsonSync } from "@aperture/atomic/json";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${Deno.makeTempDirSync()}/settings.json`;
 * assertEquals(readJsonSync(path), undefined);
 * ```
 */
export function readJsonSync<T = unknown>(
  path: string | URL | Uint8Array,
  options?: ReadJsonOptions<T>,
): T | undefined {
  const { check } = readOptions<ReadJsonOptions<T>>(options, READ_OPTIONS);
  const absolute = absolutePath(path);
  return valueOf(absolute, readInTurnSync({ path: absolute }).bytes, check);
}

/**
 * Replaces a file by the JSON of a value, atomically, or creates the file.
 *
 * It is {@linkcode atomicWrite} of the text, indented by two spaces and with a line break at its
 * end. What is there is not read: to change a part of it use {@linkcode updateJson}.
 *
 * Properties that are undefined are left out, as `JSON.stringify()` does. What that would replace
 * by something else is refused: NaN, Infinity, an invalid Date, a function, undefined in an array,
 * and an object of a class that has no properties of its own and no `toJSON()`, such as a Map, or a
 * promise that was not awaited.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file; for a
 * symbolic link those for the directory of the file that it points to, and `--allow-read` for it.
 *
 * @param path The file, as a path or a `file:` URL.
 * @param value The value.
 * @param options Those of {@linkcode atomicWrite}, and how to check and indent.
 * @throws {TypeError} If an argument is of the wrong type, an option unknown, or JSON cannot hold
 * the value.
 * @throws {RangeError} If an option's value is out of range.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class, with
 * its `code`.
 * @throws {DOMException} The reason of `signal` when it is aborted.
 * @throws {Error} What `check` throws.
 * @returns A promise that is resolved when the file is in place, as durable as asked for.
 *
 * @example Usage
 * ```ts
 * import { writeJson } from "@aperture/atomic/json";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/settings.json`;
 * await writeJson(path, { theme: "dark" });
 * assertEquals(await Deno.readTextFile(path), '{\n  "theme": "dark"\n}\n');
 * await writeJson(path, { theme: "dark" }, { indent: 0 });
 * assertEquals(await Deno.readTextFile(path), '{"theme":"dark"}\n');
 * ```
 */
export async function writeJson(
  path: string | URL | Uint8Array,
  value: unknown,
  options?: WriteJsonOptions,
): Promise<void> {
  const { check, indent, ...write } = readOptions(options, WRITE_OPTIONS);
  await atomicWrite(path, textOf(value, { check, indent }), write);
}

/**
 * Replaces a file by the JSON of a value, atomically, or creates the file: the synchronous form
 * of {@linkcode writeJson}.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file; for a
 * symbolic link those for the directory of the file that it points to, and `--allow-read` for it.
 *
 * @param path The file, as a path or a `file:` URL.
 * @param value The value.
 * @param options Those of {@linkcode atomicWriteSync}, and how to check and indent.
 * @throws {TypeError} If an argument is of the wrong type, an option unknown, or JSON cannot hold
 * the value.
 * @throws {RangeError} If an option's value is out of range.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class, with
 * its `code`.
 * @throws {Error} What `check` throws.
 *
 * @example Usage
 * ```ts
 * import { readJsonSync, writeJsonSync } from "@aperture/atomic/json";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${Deno.makeTempDirSync()}/settings.json`;
 * writeJsonSync(path, { theme: "dark" });
 * assertEquals(readJsonSync(path), { theme: "dark" });
 * ```
 */
export function writeJsonSync(
  path: string | URL | Uint8Array,
  value: unknown,
  options?: WriteJsonSyncOptions,
): void {
  const { check, indent, ...write } = readOptions(options, WRITE_SYNC_OPTIONS);
  atomicWriteSync(path, textOf(value, { check, indent }), write);
}

/**
 * Changes the value of a JSON file under its directory's lock: reads it, calls a function with it
 * and atomically writes what that returns.
 *
 * All programs that change the file this way wait for one another, so that no change is lost.
 * If the file is empty or corrupt, or anything throws, it stays as it is. Its indentation, its
 * line breaks, the last one and a byte order mark are kept. If the value that is returned is the
 * one that was read, nothing is written: so the file is left alone.
 *
 * It is {@linkcode atomicUpdate} for JSON, and what is said there of links, the lock and missing
 * directories holds here. What JSON cannot hold is refused as by {@linkcode writeJson}; integers
 * beyond 2^53 are rounded when they are read. A number beyond 1.8e308 is read as Infinity: leave all
 * as it is, or put something else in its place.
 *
 * Requires the permissions of {@linkcode atomicUpdate}: `--allow-read` and `--allow-write` for the
 * directory of the file; for a symbolic link those for the directory of the file that it points to,
 * and `--allow-read` for it.
 *
 * @typeParam T The value that `fn` gets and returns. Without `check` what is read is taken for it
 * unseen.
 *
 * @param path The file, as a path or a `file:` URL.
 * @param fn What to do with the value: it gets it, or undefined if there is no file, and returns
 * the new one, or the same one, changed or not.
 * @param options Those of {@linkcode atomicUpdate}, and how to check and indent.
 * @throws {TypeError} If an argument is of the wrong type, an option unknown, or JSON cannot hold
 * what `fn` returns, such as the undefined of a forgotten `return`.
 * @throws {RangeError} If an option's value is out of range, or the lock is released, shared or
 * that of another directory.
 * @throws {JsonFileError} If the file is empty or corrupt, or `check` throws at what it holds.
 * @throws {LockTimeoutError} If the lock is not free within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new value was in place.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class, with
 * its `code`.
 * @throws {DOMException} The reason of `signal` when it is aborted.
 * @throws {Error} If the file cannot be read or locked, and what `fn` throws, or `check` at what
 * `fn` returns.
 * @returns A promise that is resolved when the new value is in place.
 *
 * @example Usage
 * ```ts
 * import { readJson, updateJson } from "@aperture/atomic/json";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/visits.json`;
 * const add = (visits = 0) => visits + 1;
 * await Promise.all([updateJson(path, add), updateJson(path, add)]);
 * assertEquals(await readJson(path), 2);
 * ```
 *
 * @example With a check
 * ```ts
 * import { updateJson } from "@aperture/atomic/json";
 * import { assertRejects } from "@std/assert";
 *
 * const check = (value: unknown): { theme: string } => {
 *   const { theme } = Object(value);
 *   if (typeof theme !== "string") throw new TypeError("The theme must be a string");
 *   return { theme };
 * };
 * const path = `${await Deno.makeTempDir()}/settings.json`;
 * await updateJson(path, () => ({ theme: "dark" }), { check });
 * await assertRejects(() => updateJson<unknown>(path, () => ({ theme: 1 }), { check }), TypeError);
 * ```
 */
export async function updateJson<T = unknown>(
  path: string | URL | Uint8Array,
  fn: (value: T | undefined) => T | Promise<T>,
  options?: UpdateJsonOptions<T>,
): Promise<void> {
  isFunction(fn, "fn");
  const { check, indent, ...update } = readOptions<UpdateJsonOptions<T>>(options, UPDATE_OPTIONS);
  const absolute = absolutePath(path);
  await atomicUpdate(absolute, async (bytes) => {
    const { value, write } = changeOf<T>(absolute, bytes, { check, indent });
    return write(await fn(value));
  }, update);
}

/**
 * Changes the value of a JSON file under its directory's lock: the synchronous form of
 * {@linkcode updateJson}.
 *
 * Requires the permissions of {@linkcode atomicUpdate}: `--allow-read` and `--allow-write` for the
 * directory of the file; for a symbolic link those for the directory of the file that it points to,
 * and `--allow-read` for it.
 *
 * @typeParam T The value that `fn` gets and returns. Without `check` what is read is taken for it
 * unseen.
 *
 * @param path The file, as a path or a `file:` URL.
 * @param fn What to do with the value: it gets it, or undefined if there is no file, and returns
 * the new one, or the same one, changed or not; not a promise.
 * @param options Those of {@linkcode atomicUpdateSync}, and how to check and indent.
 * @throws {TypeError} If an argument is of the wrong type, an option unknown, or JSON cannot hold
 * what `fn` returns, such as a promise, or the undefined of a forgotten `return`.
 * @throws {RangeError} If an option's value is out of range, or the lock is released, shared or
 * that of another directory.
 * @throws {JsonFileError} If the file is empty or corrupt, or `check` throws at what it holds.
 * @throws {LockTimeoutError} If the lock is not free within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new value was in place.
 * @throws {DeadlockError} If this thread holds the lock itself, or on Deno waits for it already.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class, with
 * its `code`.
 * @throws {Error} If the file cannot be read or locked, and what `fn` throws, or `check` at what
 * `fn` returns.
 *
 * @example Usage
 * ```ts
 * import { readJsonSync, updateJsonSync } from "@aperture/atomic/json";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${Deno.makeTempDirSync()}/visits.json`;
 * updateJsonSync<number>(path, (visits = 0) => visits + 1);
 * assertEquals(readJsonSync(path), 1);
 * ```
 */
export function updateJsonSync<T = unknown>(
  path: string | URL | Uint8Array,
  fn: (value: T | undefined) => T,
  options?: UpdateJsonSyncOptions<T>,
): void {
  isFunction(fn, "fn");
  const { check, indent, ...update } = readOptions<UpdateJsonSyncOptions<T>>(
    options,
    UPDATE_SYNC_OPTIONS,
  );
  const absolute = absolutePath(path);
  atomicUpdateSync(absolute, (bytes) => {
    const { value, write } = changeOf<T>(absolute, bytes, { check, indent });
    const next = fn(value);
    ignoreFailure(next); // Of an asynchronous function, whose value is refused.
    return write(next);
  }, update);
}

const READ_OPTIONS: Checks<ReadJsonOptions<unknown>> = { check: isFunction };

const FORMAT_OPTIONS: Checks<JsonFormatOptions> = { check: isFunction, indent: isIndent };

const WRITE_OPTIONS: Checks<WriteJsonOptions> = { ...ATOMIC_WRITE_OPTIONS, ...FORMAT_OPTIONS };

const WRITE_SYNC_OPTIONS: Checks<WriteJsonSyncOptions> = {
  ...ATOMIC_WRITE_SYNC_OPTIONS,
  ...FORMAT_OPTIONS,
};

const UPDATE_OPTIONS: Checks<UpdateJsonOptions<unknown>> = { ...WRITE_OPTIONS, lock: isAnything };

const UPDATE_SYNC_OPTIONS: Checks<UpdateJsonSyncOptions<unknown>> = {
  ...WRITE_SYNC_OPTIONS,
  lock: isAnything,
};

/** Leaves the check to the function that the option is handed on to. */
function isAnything(): void {}
