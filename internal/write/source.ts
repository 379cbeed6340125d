import { throwIfAborted, untilAborted } from "../base/abort.ts";
import { isBlob } from "./content.ts";
import { kindOf } from "../base/options.ts";
import type { WriteRequest } from "./request.ts";
import { StreamWriter } from "./stream_writer.ts";

/** Data that arrives in chunks. */
export interface Source {
  next(): Promise<IteratorResult<unknown, unknown>>;
  /** The source's own error, if that is why {@linkcode Source.next} failed. */
  failure?(): unknown;
  /** Asks the source to stop, but does not wait for it. */
  stop(reason: unknown): void;
}

/**
 * Converts data to a source. The kind of data is recognized by its members, since each realm has
 * its own classes.
 */
export function sourceOf(data: unknown): Source {
  const given = Object(data) as Partial<
    & Pick<ReadableStream<unknown>, "getReader" | "locked">
    & AsyncIterable<unknown>
    & NodeStream
  >;
  if (typeof given.getReader === "function") {
    if (given.locked) throw alreadyRead(data);
    return readerSource(given.getReader());
  }
  if (typeof given[Symbol.asyncIterator] === "function") {
    const iterable = given as AsyncIterable<unknown>;
    return typeof given.on === "function" && typeof given.destroy === "function"
      ? nodeSource(given as AsyncIterable<unknown> & NodeStream)
      : iteratorSource(iterable[Symbol.asyncIterator]());
  }
  if (isBlob(data)) return readerSource(data.stream().getReader());
  throw wrongData(data, "a string, bytes, a Blob, a stream or an iterable of strings and bytes");
}

/** The error for data other than `expected`, with a hint about what the caller probably meant. */
export function wrongData(data: unknown, expected: string): TypeError {
  return new TypeError(`Data must be ${expected}: received ${kindOf(data)}${hintFor(data)}`);
}

function hintFor(data: unknown): string {
  if (typeof data !== "object" || data === null) return "";
  if ("body" in data && "arrayBuffer" in data) return ". Pass its body";
  if (isBlob(data) || Symbol.asyncIterator in data || "getReader" in data) {
    return ". Only asynchronous functions accept it";
  }
  if ("size" in data && "slice" in data) return " without arrayBuffer(). Read it with a FileReader";
  const isPlain = Object.getPrototypeOf(data) === Object.prototype;
  return isPlain ? ". To write a value as JSON, use writeJson()" : "";
}

/** Writes everything that a source yields, then replaces the target. */
export async function replaceFrom(source: Source, request: WriteRequest): Promise<void> {
  let writer: StreamWriter | undefined;
  try {
    writer = await StreamWriter.open(request);
    throwIfAborted(request.signal);
    // The source may stall, so do not wait for it after an abort.
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

/**
 * The parts of a `node:stream` stream that are used here. Other stream implementations may lack the
 * optional members.
 */
interface NodeStream {
  on(event: "error" | "data", listener: (value: unknown) => void): unknown;
  destroy(): unknown;
  listenerCount?(event: "data"): number;
  /**
   * Null until something reads or pauses the stream; undefined if the property is not implemented.
   */
  readonly readableFlowing?: boolean | null;
  readonly readableEnded?: boolean;
  readonly readableDidRead?: boolean;
}

function nodeSource(stream: AsyncIterable<unknown> & NodeStream): Source {
  if (isAlreadyRead(stream)) throw alreadyRead(stream);
  const failures: unknown[] = [];
  // Listen in the same tick: an 'error' event without a listener, such as one for ENOENT, would
  // crash the process.
  stream.on("error", (error) => failures.push(error));
  // 'data' is emitted for each chunk, no matter what reads it.
  let [emitted, received] = [0, 0];
  if (stream.readableFlowing !== undefined) stream.on("data", () => emitted++);
  const iterator = stream[Symbol.asyncIterator]();
  // Also start reading in this tick: if the caller has a 'data' listener, the stream starts to flow
  // in the next tick unless something is already reading it.
  let first: Promise<IteratorResult<unknown>> | undefined = iterator.next();
  first.catch(() => {});
  return {
    async next() {
      if (failures.length > 0) throw failures[0];
      const next = await (first ?? iterator.next());
      first = undefined;
      if (!next.done) received++;
      else if (emitted > received) throw alreadyRead(stream);
      return next;
    },
    failure: () => failures[0],
    // The iterator's return() would not destroy a stream that it has not begun to read.
    stop: () => quietly(() => stream.destroy()),
  };
}

/**
 * Whether other code may have read chunks before the call. Older streams do not report this
 * directly.
 */
function isAlreadyRead(stream: NodeStream): boolean {
  const { readableDidRead, readableFlowing, readableEnded } = stream;
  if (readableDidRead !== undefined) return readableDidRead;
  return Boolean(readableFlowing || readableEnded) || (stream.listenerCount?.("data") ?? 0) > 0;
}

function alreadyRead(stream: unknown): TypeError {
  return new TypeError(
    `Data must be a stream that nothing else reads: received ${kindOf(stream)} that other code ` +
      "reads, so the file would be incomplete. Pass the stream as soon as you have it",
  );
}

/** Ignores errors: an error while stopping a source would mask the reason for stopping it. */
function quietly(work: () => unknown): void {
  (async () => await work())().catch(() => {});
}
