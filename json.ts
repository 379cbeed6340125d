/**
 * Store a value in a JSON file that several programs read and update.
 *
 * {@linkcode updateJson} reads the file, passes its value to a function and atomically writes what
 * the function returns, all while holding the lock on the file's directory. No update is lost, and
 * readers never see a partial file. If the file is empty or corrupt, the call throws instead of
 * using a default value or overwriting the file.
 *
 * ```ts
 * import { readJson, updateJson } from "@aperture/atomic/json";
 * import { deepEqual } from "node:assert/strict";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/settings.json`;
 * await updateJson<{ theme?: string }>(path, (settings = {}) => ({ ...settings, theme: "dark" }));
 * deepEqual(await readJson(path), { theme: "dark" });
 * ```
 *
 * @module
 */

import type { AtomicWriteOptions, AtomicWriteSyncOptions } from "./atomic.ts";
import { atCaller, atCallerSync } from "./internal/base/errors.ts";
import { type Checks, isFunction, readOptions } from "./internal/base/options.ts";
import { absolutePath } from "./internal/base/paths.ts";
import { run, runSync } from "./internal/base/steps.ts";
import { JsonFileError } from "./internal/json/error.ts";
import { isIndent, JsonChange, textOf, valueOf } from "./internal/json/value.ts";
import { readInTurn } from "./internal/order/read_turn.ts";
import { update, updateSync } from "./internal/update/mod.ts";
import { UPDATE_OPTIONS, UPDATE_SYNC_OPTIONS } from "./internal/update/request.ts";
import { write, writeSync } from "./internal/write/mod.ts";
import {
  WRITE_OPTIONS,
  WRITE_SYNC_OPTIONS,
  type WriteRequest,
  writeRequest,
} from "./internal/write/request.ts";
import type { AtomicUpdateOptions, AtomicUpdateSyncOptions } from "./update.ts";

export { JsonFileError };

/** Options for {@linkcode readJson} and {@linkcode readJsonSync}. */
export interface ReadJsonOptions<T> {
  /**
   * Receives the file's value and returns it, unchanged or converted, or throws if it is invalid.
   * It can be a schema's `parse` method or any other function, but must not return a promise.
   */
  check?: (value: unknown) => T;
}

/** Options for how {@linkcode writeJson} and {@linkcode updateJson} format and check a value. */
export interface JsonFormatOptions {
  /**
   * The indentation of each level: a number of spaces from 0 to 10, or a string of at most 10
   * spaces and tabs. 0 and "" put everything on one line.
   *
   * The default is 2. {@linkcode updateJson} keeps the indentation of the existing file, unless it
   * is longer than 10 characters.
   */
  indent?: number | string;
  /**
   * Receives the value to be written, as parsed back from its JSON, and throws if it is invalid.
   * The return value is ignored, but must not be a promise.
   */
  check?: (value: unknown) => unknown;
}

/** Options for {@linkcode writeJsonSync}. */
export interface WriteJsonSyncOptions extends AtomicWriteSyncOptions, JsonFormatOptions {}

/** Options for {@linkcode writeJson}. */
export interface WriteJsonOptions extends AtomicWriteOptions, JsonFormatOptions {}

/** Options for {@linkcode updateJsonSync}. */
export interface UpdateJsonSyncOptions<T> extends AtomicUpdateSyncOptions, JsonFormatOptions {
  /**
   * Receives the file's value and returns the value to pass to `fn`, or throws if it is invalid. It
   * can be a schema's `parse` method or any other function, but must not return a promise. It is
   * also called before the file is written, with the new value as parsed back from its JSON.
   */
  check?: (value: unknown) => T;
}

/** Options for {@linkcode updateJson}. */
export interface UpdateJsonOptions<T> extends AtomicUpdateOptions, UpdateJsonSyncOptions<T> {}

/**
 * Returns the value in a JSON file, or undefined if the file does not exist.
 *
 * No lock is needed, because a file that is replaced atomically is always complete. The call first
 * waits for this thread's earlier writes to the file. A byte order mark is skipped. As with
 * `JSON.parse()`, integers beyond 2^53 are rounded and numbers beyond 1.8e308 become Infinity;
 * store such values as strings. The file is read into memory and parsed in one go, which blocks the
 * thread.
 *
 * Requires `--allow-read` permission for the file and, if the path is a symbolic link, for the link
 * itself.
 *
 * @typeParam T The type that `check` returns. Without `check`, the value is assumed to have this
 * type.
 *
 * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options How to check the value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or `check` returns
 * a promise.
 * @throws {JsonFileError} If the file is empty, corrupt or too large, or `check` throws.
 * @throws {Error} If the file cannot be read. The error has the runtime's own class and `code`.
 * @returns A promise for the value, or for undefined if the file does not exist.
 *
 * @example Usage
 * ```ts
 * import { readJson, writeJson } from "@aperture/atomic/json";
 * import { deepEqual, equal } from "node:assert/strict";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/settings.json`;
 * const { theme } = await readJson<{ theme: string }>(path) ?? { theme: "light" };
 * equal(theme, "light");
 * await writeJson(path, { theme: "dark" });
 * deepEqual(await readJson(path), { theme: "dark" });
 * ```
 *
 * @example With a check
 * ```ts
 * import { readJson } from "@aperture/atomic/json";
 * import { rejects } from "node:assert/strict";
 * import { mkdtemp, writeFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/port.json`;
 * await writeFile(path, '"eighty"');
 * const check = (value: unknown): number => {
 *   if (typeof value !== "number") throw new TypeError("The port must be a number");
 *   return value;
 * };
 * await rejects(readJson(path, { check }), { name: "JsonFileError" });
 * ```
 */
export function readJson<T = unknown>(
  path: string | URL | Uint8Array,
  options?: ReadJsonOptions<T>,
): Promise<T | undefined> {
  return atCaller(async () => {
    const { check } = readOptions<ReadJsonOptions<T>>(options, READ_OPTIONS);
    const absolute = absolutePath(path);
    return valueOf(absolute, (await run(readInTurn({ path: absolute }))).bytes, check);
  });
}

/**
 * Returns the value in a JSON file, or undefined if the file does not exist. The synchronous form
 * of {@linkcode readJson}.
 *
 * Requires `--allow-read` permission for the file and, if the path is a symbolic link, for the link
 * itself.
 *
 * @typeParam T The type that `check` returns. Without `check`, the value is assumed to have this
 * type.
 *
 * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options How to check the value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or `check` returns
 * a promise.
 * @throws {JsonFileError} If the file is empty, corrupt or too large, or `check` throws.
 * @throws {Error} If the file cannot be read. The error has the runtime's own class and `code`.
 * @returns The value, or undefined if the file does not exist.
 *
 * @example Usage
 * ```ts
 * import { readJsonSync } from "@aperture/atomic/json";
 * import { equal } from "node:assert/strict";
 * import { mkdtempSync } from "node:fs";
 * import { tmpdir } from "node:os";
 *
 * const path = `${mkdtempSync(`${tmpdir()}/example-`)}/settings.json`;
 * equal(readJsonSync(path), undefined);
 * ```
 */
export function readJsonSync<T = unknown>(
  path: string | URL | Uint8Array,
  options?: ReadJsonOptions<T>,
): T | undefined {
  const { check } = readOptions<ReadJsonOptions<T>>(options, READ_OPTIONS);
  const absolute = absolutePath(path);
  let value: T | undefined;
  atCallerSync(readJsonSync, () => {
    value = valueOf(absolute, runSync(readInTurn({ path: absolute })).bytes, check);
  });
  return value;
}

/**
 * Atomically replaces the content of a file with a value serialized as JSON, or creates the file.
 *
 * The text is indented by two spaces by default and ends with a line break. The existing file is
 * not read; to change part of it, use {@linkcode updateJson}.
 *
 * Undefined properties are omitted, as with `JSON.stringify()`. The call rejects values that
 * `JSON.stringify()` would silently replace: NaN, Infinity, invalid Dates, functions, undefined in
 * arrays, and class instances without properties or `toJSON()`, such as a Map or a promise that was
 * not awaited.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the file's directory. If the path is
 * a symbolic link, both permissions are required for the target's directory, plus `--allow-read`
 * for the link itself.
 *
 * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param value The value.
 * @param options The options of {@linkcode atomicWrite}, plus how to check and indent the value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or JSON cannot
 * represent the value.
 * @throws {RangeError} If an option's value is out of range, or the value is too deeply nested or
 * too large.
 * @throws {AtomicWriteError} If the file cannot be written. The error has the runtime's own class
 * and `code`.
 * @throws {DOMException} If `signal` is aborted. The error is the signal's `reason`.
 * @throws {Error} If `check` throws. The error is passed through.
 * @returns A promise that resolves when the file is in place with the requested durability.
 *
 * @example Usage
 * ```ts
 * import { writeJson } from "@aperture/atomic/json";
 * import { equal } from "node:assert/strict";
 * import { mkdtemp, readFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/settings.json`;
 * await writeJson(path, { theme: "dark" });
 * equal(await readFile(path, "utf8"), '{\n  "theme": "dark"\n}\n');
 * await writeJson(path, { theme: "dark" }, { indent: 0 });
 * equal(await readFile(path, "utf8"), '{"theme":"dark"}\n');
 * ```
 */
export function writeJson(
  path: string | URL | Uint8Array,
  value: unknown,
  options?: WriteJsonOptions,
): Promise<void> {
  return atCaller(() => {
    return write(...requestOf(path, value, readOptions(options, WRITE_JSON_OPTIONS)));
  });
}

/**
 * Atomically replaces the content of a file with a value serialized as JSON, or creates the file.
 * The synchronous form of {@linkcode writeJson}.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the file's directory. If the path is
 * a symbolic link, both permissions are required for the target's directory, plus `--allow-read`
 * for the link itself.
 *
 * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param value The value.
 * @param options The options of {@linkcode atomicWriteSync}, plus how to check and indent the
 * value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or JSON cannot
 * represent the value.
 * @throws {RangeError} If an option's value is out of range, or the value is too deeply nested or
 * too large.
 * @throws {AtomicWriteError} If the file cannot be written. The error has the runtime's own class
 * and `code`.
 * @throws {Error} If `check` throws. The error is passed through.
 *
 * @example Usage
 * ```ts
 * import { readJsonSync, writeJsonSync } from "@aperture/atomic/json";
 * import { deepEqual } from "node:assert/strict";
 * import { mkdtempSync } from "node:fs";
 * import { tmpdir } from "node:os";
 *
 * const path = `${mkdtempSync(`${tmpdir()}/example-`)}/settings.json`;
 * writeJsonSync(path, { theme: "dark" });
 * deepEqual(readJsonSync(path), { theme: "dark" });
 * ```
 */
export function writeJsonSync(
  path: string | URL | Uint8Array,
  value: unknown,
  options?: WriteJsonSyncOptions,
): void {
  atCallerSync(writeJsonSync, () => {
    writeSync(...requestOf(path, value, readOptions(options, WRITE_JSON_SYNC_OPTIONS)));
  });
}

/**
 * Updates the value in a JSON file with a function, `fn`: reads the file, calls `fn` with the value
 * and atomically writes what it returns, all while holding the lock on the file's directory. `fn`
 * may run more than once.
 *
 * Programs that update the file this way take turns, so no update is lost. See
 * {@linkcode atomicUpdate} for the lock, the handling of links and missing directories, and the
 * detection of changes by writers that do not take the lock. If the file is empty or corrupt, or if
 * anything throws, the file is left unchanged. The file's indentation, line breaks and byte order
 * mark are preserved. If `fn` returns an equal value, nothing is written, unless `mode` or the
 * durability `"durable"` is requested.
 *
 * Like {@linkcode writeJson}, it rejects values that JSON cannot represent. Integers beyond 2^53
 * are rounded when read. Numbers beyond 1.8e308 are read as Infinity, which cannot be written back,
 * so `fn` must replace them.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the file's directory. If the path is
 * a symbolic link, both permissions are required for the target's directory, plus `--allow-read`
 * for the link itself.
 *
 * @typeParam T The type of the value. Without `check`, the file's value is assumed to have this
 * type.
 *
 * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param fn Receives the value, or undefined if the file does not exist, and returns the new value.
 * It can return the value it received, modified or not.
 * @param options The options of {@linkcode atomicUpdate}, plus how to check and indent the value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or JSON cannot
 * represent what `fn` returns, for example undefined because of a missing `return`.
 * @throws {RangeError} If an option's value is out of range, if the lock was released, is shared or
 * belongs to another directory, or if the value is too deeply nested or too large.
 * @throws {JsonFileError} If the file is empty, corrupt or too large, or `check` rejects its value.
 * @throws {LockTimeoutError} If the lock could not be acquired within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new value was in place.
 * @throws {AtomicWriteError} If the file cannot be written. The error has the runtime's own class
 * and `code`. The `code` is `ESTALE` if another program changed the file during each of ten calls
 * to `fn`.
 * @throws {DOMException} If `signal` is aborted. The error is the signal's `reason`.
 * @throws {Error} If the file cannot be read or locked. Errors thrown by `fn`, or by `check` for
 * the new value, are passed through.
 * @returns A promise for the new value, as {@linkcode readJson} would return it.
 *
 * @example Usage
 * ```ts
 * import { readJson, updateJson } from "@aperture/atomic/json";
 * import { equal } from "node:assert/strict";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/visits.json`;
 * const add = (visits = 0) => visits + 1;
 * await Promise.all([updateJson(path, add), updateJson(path, add)]);
 * equal(await readJson(path), 2);
 * equal(await updateJson(path, add), 3);
 * ```
 *
 * @example With a check
 * ```ts
 * import { updateJson } from "@aperture/atomic/json";
 * import { rejects } from "node:assert/strict";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const check = (value: unknown): { theme: string } => {
 *   const { theme } = Object(value);
 *   if (typeof theme !== "string") throw new TypeError("The theme must be a string");
 *   return { theme };
 * };
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/settings.json`;
 * await updateJson(path, () => ({ theme: "dark" }), { check });
 * await rejects(updateJson<unknown>(path, () => ({ theme: 1 }), { check }), TypeError);
 * ```
 */
export function updateJson<T = unknown>(
  path: string | URL | Uint8Array,
  fn: (value: T | undefined) => T | Promise<T>,
  options?: UpdateJsonOptions<T>,
): Promise<T> {
  return atCaller(async () => {
    isFunction(fn, "fn");
    const [change, rest] = changeOf(path, options, UPDATE_JSON_OPTIONS);
    await update(change.path, async (bytes) => change.textFor(await fn(change.read(bytes))), rest);
    return change.result;
  });
}

/**
 * Updates the value in a JSON file with a function, `fn`, which may run more than once: the
 * synchronous form of {@linkcode updateJson}.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the file's directory. If the path is
 * a symbolic link, both permissions are required for the target's directory, plus `--allow-read`
 * for the link itself.
 *
 * @typeParam T The type of the value. Without `check`, the file's value is assumed to have this
 * type.
 *
 * @param path The file, as a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param fn Receives the value, or undefined if the file does not exist, and returns the new value.
 * It can return the value it received, modified or not. It must not return a promise.
 * @param options The options of {@linkcode atomicUpdateSync}, plus how to check and indent the
 * value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or JSON cannot
 * represent what `fn` returns, for example a promise, or undefined because of a missing `return`.
 * @throws {RangeError} If an option's value is out of range, if the lock was released, is shared or
 * belongs to another directory, or if the value is too deeply nested or too large.
 * @throws {JsonFileError} If the file is empty, corrupt or too large, or `check` rejects its value.
 * @throws {LockTimeoutError} If the lock could not be acquired within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new value was in place.
 * @throws {DeadlockError} If this thread already holds the lock or, on Deno, if another call in
 * this thread is waiting for it.
 * @throws {AtomicWriteError} If the file cannot be written. The error has the runtime's own class
 * and `code`. The `code` is `ESTALE` if another program changed the file during each of ten calls
 * to `fn`.
 * @throws {Error} If the file cannot be read or locked. Errors thrown by `fn`, or by `check` for
 * the new value, are passed through.
 * @returns The new value, as {@linkcode readJsonSync} would return it.
 *
 * @example Usage
 * ```ts
 * import { updateJsonSync } from "@aperture/atomic/json";
 * import { equal } from "node:assert/strict";
 * import { mkdtempSync } from "node:fs";
 * import { tmpdir } from "node:os";
 *
 * const path = `${mkdtempSync(`${tmpdir()}/example-`)}/visits.json`;
 * equal(updateJsonSync<number>(path, (visits = 0) => visits + 1), 1);
 * ```
 */
export function updateJsonSync<T = unknown>(
  path: string | URL | Uint8Array,
  fn: (value: T | undefined) => T,
  options?: UpdateJsonSyncOptions<T>,
): T {
  isFunction(fn, "fn");
  const [change, rest] = changeOf(path, options, UPDATE_JSON_SYNC_OPTIONS);
  atCallerSync(updateJsonSync, () => {
    updateSync(change.path, (bytes) => change.textFor(fn(change.read(bytes))), rest);
  });
  return change.result;
}

const READ_OPTIONS: Checks<ReadJsonOptions<unknown>> = { check: isFunction };

const FORMAT_OPTIONS: Checks<JsonFormatOptions> = { ...READ_OPTIONS, indent: isIndent };
const WRITE_JSON_OPTIONS = { ...WRITE_OPTIONS, ...FORMAT_OPTIONS };
const WRITE_JSON_SYNC_OPTIONS = { ...WRITE_SYNC_OPTIONS, ...FORMAT_OPTIONS };
const UPDATE_JSON_OPTIONS = { ...UPDATE_OPTIONS, ...FORMAT_OPTIONS };
const UPDATE_JSON_SYNC_OPTIONS = { ...UPDATE_SYNC_OPTIONS, ...FORMAT_OPTIONS };

/** Prepares an update; returns it with the options that remain. */
function changeOf<T>(
  path: string | URL | Uint8Array,
  options: UpdateJsonSyncOptions<T> | undefined,
  checks: Checks<UpdateJsonSyncOptions<unknown>>,
): [JsonChange<T>, AtomicUpdateSyncOptions] {
  const { check, indent, ...rest } = readOptions<UpdateJsonSyncOptions<T>>(options, checks);
  // Even an unchanged value must be written if the file may not have the requested mode or
  // durability.
  const writesAlways = rest.mode !== undefined || rest.durability === "durable";
  return [new JsonChange<T>(absolutePath(path), { check, indent }, writesAlways), rest];
}

/** Creates the write request and the JSON text for a value. */
function requestOf(
  path: string | URL | Uint8Array,
  value: unknown,
  { check, indent, ...options }: WriteJsonOptions,
): [WriteRequest, string] {
  const request = writeRequest(path, options);
  return [request, textOf(request.path, value, { check, indent })];
}
