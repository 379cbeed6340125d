import process from "node:process";

/** Whether this is Windows. */
export const isWindows: boolean = process.platform === "win32";

/** See {@linkcode Runtime.foldsNames}. */
export const foldsNames: boolean = isWindows || process.platform === "darwin";

let cell: Int32Array | undefined;

/** Blocks this thread for `milliseconds` without busy-waiting. */
export function sleepSync(milliseconds: number): void {
  Atomics.wait(cell ??= new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
