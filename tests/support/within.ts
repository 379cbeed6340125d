/** Waits for a promise that may never settle; throws after `seconds`. */
export async function within<T>(promise: Promise<T>, seconds = 5): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`The promise did not settle within ${seconds} s`)),
      seconds * 1_000,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
