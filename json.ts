/**
 * Keep a value in a JSON file that several programs read and change.
 *
 * {@linkcode updateJson} reads the file, passes its value to a function and atomically writes what
 * the function returns, under the lock of the file's directory, so no update is lost and readers
 * never see a partial file. An empty or corrupt file is an error, never a default value, and is
 * never overwritten.
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
   * Receives the value of the file and returns it, unchanged or converted, or throws if it is
   * invalid: a schema's `parse`, or any function. It must not return a promise.
   */
  check?: (value: unknown) => T;
}

/** How {@linkcode writeJson} and {@linkcode updateJson} write a value. */
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
   * Receives the value to be written, as it will be read, and throws if it is invalid; the result
   * is not used. It must not return a promise.
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
   * Receives the value of the file and returns what `fn` receives, or throws if it is invalid: a
   * schema's `parse`, or any function. Before the file is written, it also receives the new value,
   * as it will be read. It must not return a promise.
   */
  check?: (value: unknown) => T;
}

/** Options for {@linkcode updateJsonSync}. */
export interface UpdateJsonSyncOptions<T> extends AtomicUpdateSyncOptions, JsonFormatOptions {
  /** As for {@linkcode updateJson}. */
  check?: (value: unknown) => T;
}

/**
 * Reads the value of a JSON file; undefined if there is no file.
 *
 * It takes no lock: a file that is replaced atomically is always complete. It first waits for
 * earlier writes of this thread to the file. A byte order mark is skipped. Integers beyond 2^53 are
 * rounded, and numbers beyond 1.8e308 become Infinity, as in `JSON.parse()`: store such values as
 * strings. The file is read into memory and parsed in one go, which blocks the thread.
 *
 * Requires `--allow-read` permission for the file and, if the path is a symbolic link, for the link.
 *
 * @typeParam T The result of `check`; without one, the value is assumed to have this type.
 *
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options How to check the value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or `check` returns
 * a promise.
 * @throws {JsonFileError} If the file is empty, corrupt or too large, or `check` throws.
 * @throws {Error} If the file cannot be read: the runtime's own error class, with its `code`.
 * @returns A promise of the value; undefined if there is no file.
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
 * Reads the value of a JSON file; undefined if there is no file. The synchronous form of
 * {@linkcode readJson}.
 *
 * Requires `--allow-read` permission for the file and, if the path is a symbolic link, for the link.
 *
 * @typeParam T The result of `check`; without one, the value is assumed to have this type.
 *
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param options How to check the value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or `check` returns
 * a promise.
 * @throws {JsonFileError} If the file is empty, corrupt or too large, or `check` throws.
 * @throws {Error} If the file cannot be read: the runtime's own error class, with its `code`.
 * @returns The value; undefined if there is no file.
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
 * Atomically replaces the content of a file with the JSON of a value, or creates the file.
 *
 * The text is indented by two spaces and ends with a line break. The existing file is not read: to
 * change a part of it, use {@linkcode updateJson}.
 *
 * Properties that are undefined are left out, as `JSON.stringify()` does. Values that it would
 * silently replace are refused: NaN, Infinity, an invalid Date, a function, undefined in an array,
 * and a class instance without properties or `toJSON()`, such as a Map or a promise that was not
 * awaited.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file. If the path
 * is a symbolic link, they are required for the directory of the file that it points to, and
 * `--allow-read` for the link.
 *
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param value The value.
 * @param options The options of {@linkcode atomicWrite}, and how to check and indent the value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or JSON cannot
 * represent the value.
 * @throws {RangeError} If an option's value is out of range, or the value is too deep or too large.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class, with
 * its `code`.
 * @throws {DOMException} The reason of `signal` when it is aborted.
 * @throws {Error} Whatever `check` throws.
 * @returns A promise that resolves when the file is in place, as durable as requested.
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
 * Atomically replaces the content of a file with the JSON of a value, or creates the file. The
 * synchronous form of {@linkcode writeJson}.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file. If the path
 * is a symbolic link, they are required for the directory of the file that it points to, and
 * `--allow-read` for the link.
 *
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param value The value.
 * @param options The options of {@linkcode atomicWriteSync}, and how to check and indent the value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or JSON cannot
 * represent the value.
 * @throws {RangeError} If an option's value is out of range, or the value is too deep or too large.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class, with
 * its `code`.
 * @throws {Error} Whatever `check` throws.
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
 * Changes the value of a JSON file by a function, `fn`, which may run more than once: reads the
 * file, calls `fn` with the value and atomically writes what it returns, under the lock of the
 * file's directory.
 *
 * Programs that change the file this way take turns, so no update is lost; a writer that does not
 * take the lock is noticed, as described at {@linkcode atomicUpdate}, which also explains links,
 * the lock and missing directories. If the file is empty or corrupt, or anything throws, the file
 * stays as it is. Its indentation, line breaks and byte order mark are kept. If `fn` returns an
 * equal value, nothing is written.
 *
 * Like {@linkcode writeJson}, it refuses values that JSON cannot represent. Integers beyond 2^53 are
 * rounded when they are read. A number beyond 1.8e308 is read as Infinity, which cannot be written:
 * replace it.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file. If the path
 * is a symbolic link, they are required for the directory of the file that it points to, and
 * `--allow-read` for the link.
 *
 * @typeParam T The type of the value. Without `check`, the value that is read is assumed to have it.
 *
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param fn Receives the value, or undefined if there is no file, and returns the new value, which
 * can be the one that it received, modified or not.
 * @param options The options of {@linkcode atomicUpdate}, and how to check and indent the value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or JSON cannot
 * represent what `fn` returns, such as the undefined of a forgotten `return`.
 * @throws {RangeError} If an option's value is out of range, the lock is released, shared or that
 * of another directory, or the value is too deep or too large.
 * @throws {JsonFileError} If the file is empty, corrupt or too large, or `check` rejects its value.
 * @throws {LockTimeoutError} If the lock was not free within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new value was in place.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class, with
 * its `code`. `ESTALE` if others changed the file during ten calls of `fn`.
 * @throws {DOMException} The reason of `signal` when it is aborted.
 * @throws {Error} If the file cannot be read or locked, and whatever `fn` throws, or `check` for
 * the new value.
 * @returns A promise of the new value, as {@linkcode readJson} would return it.
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
    const { check, indent, ...rest } = readOptions<UpdateJsonOptions<T>>(
      options,
      UPDATE_JSON_OPTIONS,
    );
    const absolute = absolutePath(path);
    const change = new JsonChange<T>(absolute, { check, indent });
    await update(absolute, async (bytes) => change.textFor(await fn(change.read(bytes))), rest);
    return change.result;
  });
}

/**
 * Changes the value of a JSON file by a function, `fn`, which may run more than once: the
 * synchronous form of {@linkcode updateJson}.
 *
 * Requires `--allow-read` and `--allow-write` permissions for the directory of the file. If the path
 * is a symbolic link, they are required for the directory of the file that it points to, and
 * `--allow-read` for the link.
 *
 * @typeParam T The type of the value. Without `check`, the value that is read is assumed to have it.
 *
 * @param path The file: a path, a `file:` URL or the UTF-8 bytes of a path.
 * @param fn Receives the value, or undefined if there is no file, and returns the new value, which
 * can be the one that it received, modified or not. It must not return a promise.
 * @param options The options of {@linkcode atomicUpdateSync}, and how to check and indent the value.
 * @throws {TypeError} If an argument has the wrong type, an option is unknown, or JSON cannot
 * represent what `fn` returns, such as a promise, or the undefined of a forgotten `return`.
 * @throws {RangeError} If an option's value is out of range, the lock is released, shared or that
 * of another directory, or the value is too deep or too large.
 * @throws {JsonFileError} If the file is empty, corrupt or too large, or `check` rejects its value.
 * @throws {LockTimeoutError} If the lock was not free within its `timeout`.
 * @throws {LockLostError} If the lock was released or lost before the new value was in place.
 * @throws {DeadlockError} If this thread holds the lock itself, or on Deno already waits for it.
 * @throws {AtomicWriteError} If the file cannot be written: the runtime's own error class, with
 * its `code`. `ESTALE` if others changed the file during ten calls of `fn`.
 * @throws {Error} If the file cannot be read or locked, and whatever `fn` throws, or `check` for
 * the new value.
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
  const { check, indent, ...rest } = readOptions<UpdateJsonSyncOptions<T>>(
    options,
    UPDATE_JSON_SYNC_OPTIONS,
  );
  const absolute = absolutePath(path);
  const change = new JsonChange<T>(absolute, { check, indent });
  atCallerSync(updateJsonSync, () => {
    updateSync(absolute, (bytes) => change.textFor(fn(change.read(bytes))), rest);
  });
  return change.result;
}

const READ_OPTIONS: Checks<ReadJsonOptions<unknown>> = { check: isFunction };

const FORMAT_OPTIONS: Checks<JsonFormatOptions> = { ...READ_OPTIONS, indent: isIndent };
const WRITE_JSON_OPTIONS = { ...WRITE_OPTIONS, ...FORMAT_OPTIONS };
const WRITE_JSON_SYNC_OPTIONS = { ...WRITE_SYNC_OPTIONS, ...FORMAT_OPTIONS };
const UPDATE_JSON_OPTIONS = { ...UPDATE_OPTIONS, ...FORMAT_OPTIONS };
const UPDATE_JSON_SYNC_OPTIONS = { ...UPDATE_SYNC_OPTIONS, ...FORMAT_OPTIONS };

/** The request and the text of a call that writes a value. */
function requestOf(
  path: string | URL | Uint8Array,
  value: unknown,
  { check, indent, ...options }: WriteJsonOptions,
): [WriteRequest, string] {
  const request = writeRequest(path, options);
  return [request, textOf(request.path, value, { check, indent })];
}
