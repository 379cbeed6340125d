/**
 * Checks that a promise stays pending until `release` is called, then waits for it and returns its
 * value. Only a promise that settles too early makes it fail, never a slow machine.
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
