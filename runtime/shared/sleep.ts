let cell: Int32Array | undefined;

/** Blocks this thread for `milliseconds` without busy-waiting. */
export function sleepSync(milliseconds: number): void {
  Atomics.wait(cell ??= new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
