import { own } from "../base/errors.ts";

/**
 * Thrown if a file does not contain valid JSON, or contains a value that `check` rejects. The file
 * is left unchanged.
 *
 * @example Usage
 * ```ts
 * import { JsonFileError, readJson } from "@aperture/atomic/json";
 * import { deepEqual, ok } from "node:assert/strict";
 * import { mkdtemp, writeFile } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const path = `${await mkdtemp(`${tmpdir()}/example-`)}/settings.json`;
 * await writeFile(path, '{\n  "theme": dark\n}\n');
 * const error = await readJson(path).catch((error) => error);
 * ok(error instanceof JsonFileError);
 * deepEqual([error.path, error.line, error.column], [path, 2, 12]);
 * ```
 */
export class JsonFileError extends Error {
  /** The name of the class. */
  override readonly name = "JsonFileError";
  /** The absolute path of the file. */
  readonly path: string;
  /**
   * The line where the text stops being valid JSON, counted from 1. It is undefined if the text is
   * not UTF-8, is too large, or is valid JSON that `check` rejects.
   */
  readonly line: number | undefined;
  /** The column in that line, counted from 1 in UTF-16 code units, as in most editors. */
  readonly column: number | undefined;

  /**
   * Creates the error for a file.
   *
   * @param path The absolute path of the file.
   * @param reason Why the file cannot be used as JSON.
   * @param options The original error, and the position in the text.
   */
  constructor(
    path: string,
    reason: string,
    options: { cause: unknown; line?: number; column?: number },
  ) {
    const { cause, line, column } = options;
    const place = line === undefined ? "" : ` at line ${line}, column ${column}`;
    super(`Invalid JSON file '${path}'${place}: ${reason}`, { cause });
    this.path = path;
    this.line = line;
    this.column = column;
    own(this);
  }
}
