import { throwIfAborted, untilAborted } from "../base/abort.ts";
import { isBlob } from "./content.ts";
import { kindOf } from "../base/options.ts";
import type { WriteRequest } from "./request.ts";
import { StreamWriter } from "./stream_writer.ts";

/** Data that arrives in pieces. */
export interface Source {
  next(): Promise<IteratorResult<unknown, unknown>>;
  /** Why it failed, where it knows better than who called {@linkcode Source.next}. */
  failure?(): unknown;
  /** Tells the source that no more is wanted, without waiting for its answer. */
  stop(reason: unknown): void;
}

/** Data of a call as a source. It is known by what it carries, since it may be of another realm. */
export function sourceOf(data: unknown): Source {
  const given = Object(data) as Partial<
    & Pick<ReadableStream<unknown>, "getReader">
    & AsyncIterable<unknown>
    & NodeStream
  >;
  if (typeof given.getReader === "function") return readerSource(given.getReader());
  if (typeof given[Symbol.asyncIterator] === "function") {
    const iterable = given as AsyncIterable<unknown>;
    return typeof given.on === "function" && typeof given.destroy === "function"
      ? nodeSource(given as AsyncIterable<unknown> & NodeStream)
      : iteratorSource(iterable[Symbol.asyncIterator]());
  }
  if (isBlob(data)) return readerSource(data.stream().getReader());
  throw new TypeError(
    "Data must be a string, an ArrayBuffer or a view of one, a Blob, a ReadableStream " +
      `or an AsyncIterable: received ${kindOf(data)}`,
  );
}

/** Writes all that comes from a source, and puts it in its target's place. */
export async function replaceFrom(source: Source, request: WriteRequest): Promise<void> {
  let writer: StreamWriter | undefined;
  try {
    writer = await StreamWriter.open(request);
    throwIfAborted(request.signal);
    // A source may stall.
    await untilAborted(copy(source, writer), request.signal);
    await writer.commit();
  } catch (error) {
    source.stop(error);
    await writer?.fail(error);
    throw error;
  }
}

async function copy(source: Source, writer: StreamWriter): Promise<void> {
  for (;;) {
    let next: IteratorResult<unknown, unknown>;
    try {
      next = await source.next();
    } catch (error) {
      throw source.failure?.() ?? error;
    }
    if (next.done) return;
    const written = writer.write(next.value);
    if (written !== undefined) await written;
  }
}

function readerSource(reader: ReadableStreamDefaultReader<unknown>): Source {
  return {
    next: () => reader.read() as Promise<IteratorResult<unknown, unknown>>,
    stop: (reason) => quietly(() => reader.cancel(reason)),
  };
}

function iteratorSource(iterator: AsyncIterator<unknown>): Source {
  return {
    next: () => iterator.next(),
    stop: () => quietly(() => iterator.return?.()),
  };
}

/** What is used of a stream of Node's. */
interface NodeStream {
  on(event: "error", listener: (error: unknown) => void): unknown;
  destroy(): unknown;
}

function nodeSource(stream: AsyncIterable<unknown> & NodeStream): Source {
  const failures: unknown[] = [];
  // At once: a stream whose error nobody hears ends the process, and its file may be missing.
  stream.on("error", (error) => failures.push(error));
  const iterator = stream[Symbol.asyncIterator]();
  return {
    next() {
      if (failures.length > 0) throw failures[0];
      return iterator.next();
    },
    failure: () => failures[0],
    // The iterator would do it only once it has begun.
    stop: () => quietly(() => stream.destroy()),
  };
}

/** A source's failure to stop would hide why it was stopped. */
function quietly(work: () => unknown): void {
  (async () => await work())().catch(() => {});
}
