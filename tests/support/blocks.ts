/**
 * Checks that a promise stays pending until `release` is called, then waits for it and returns its
 * value. The check fails only if the promise settles too early, never because the machine is slow.
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
