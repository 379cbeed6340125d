/** Returns a stream that yields the chunks, then closes or fails. */
export function streamOf(
  chunks: Iterable<Uint8Array>,
  failure?: Error,
): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.iterator]();
  return new ReadableStream({
    pull(controller) {
      const { done, value } = iterator.next();
      if (!done) controller.enqueue(value);
      else if (failure !== undefined) controller.error(failure);
      else controller.close();
    },
  });
}

/** Splits bytes into pieces of the given size; the last piece may be smaller. */
export function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let i = 0; i < bytes.byteLength; i += size) yield bytes.subarray(i, i + size);
}
