/**
 * Sees that a promise stays pending until `release` is called, and is settled then; returns
 * its value. It cannot fail by being slow, only by the promise being settled too early.
 */
export async function assertBlocks<T>(promise: Promise<T>, release: () => void): Promise<T> {
  let settled = false;
  const mark = () => void (settled = true);
  promise.then(mark, mark);
  await new Promise((resolve) => setTimeout(resolve, 10));
  if (settled) throw new Error("It did not block");
  release();
  return await promise;
}
