/**
 * A file holds no JSON, or not what `check` accepts. It is left as it is.
 *
 * @example Usage
 * ```ts
 * import { JsonFileError, readJson } from "@aperture/atomic/json";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/settings.json`;
 * await Deno.writeTextFile(path, '{\n  "theme": dark\n}\n');
 * const error = await assertRejects(() => readJson(path), JsonFileError);
 * assertEquals([error.path, error.line, error.column], [path, 2, 12]);
 * ```
 */
export class JsonFileError extends Error {
  /** The name of the class. */
  override readonly name = "JsonFileError";
  /** The absolute path of the file. */
  readonly path: string;
  /**
   * The line at which the text stops being JSON, from 1; undefined if the text is JSON, but
   * nothing that `check` accepts.
   */
  readonly line: number | undefined;
  /** The column in that line, from 1, in UTF-16 code units as most editors count them. */
  readonly column: number | undefined;

  /**
   * Makes the error for a file.
   *
   * @param path The absolute path of the file.
   * @param reason What is wrong.
   * @param options The error that made it known, and where in the text that is.
   */
  constructor(
    path: string,
    reason: string,
    options: { cause: unknown; line?: number; column?: number },
  ) {
    const { cause, line, column } = options;
    const place = line === undefined ? "" : ` at line ${line}, column ${column}`;
    super(`Cannot use '${path}' as JSON${place}: ${reason}`, { cause });
    this.path = path;
    this.line = line;
    this.column = column;
  }
}
