import { types } from "node:util";
import { untilAborted } from "../base/abort.ts";
import { opened, type Opener } from "../base/opened.ts";
import { kindOf } from "../base/options.ts";
import type { Steps } from "../base/steps.ts";
import { ChunkBuffer } from "./chunk_buffer.ts";

/** The maximum number of bytes per call, so that a write can be aborted between calls. */
const SLICE_BYTES = 16 * 1024 * 1024;
/** Larger Blobs are streamed, so that they are never held in memory in full. */
const MAX_BLOB_BYTES = 2 ** 31 - 1;

/** Content in memory, as it was when the write function was called. */
export interface Content {
  readonly length: number;
  /**
   * Returns at most {@linkcode SLICE_BYTES} bytes, beginning at `start`. Throws a TypeError if some
   * of those bytes are gone, so that a truncated file is never published.
   */
  slice(start: number): Uint8Array;
}

/** The content of a string or bytes, which can be read repeatedly; undefined for other data. */
export function contentOf(data: unknown): Content | undefined {
  if (typeof data === "string") return textContent(data);
  const bytes = viewOf(data);
  return bytes && bytesContent(bytes);
}

/**
 * Consumes a synchronous iterable of chunks and returns its content. Returns undefined for other
 * data, and for objects that are also async iterables, because not all their chunks may be
 * available yet.
 */
export function contentOfChunks(data: unknown): Content | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  if (!(Symbol.iterator in data) || Symbol.asyncIterator in data) return undefined;
  const encoder = new ChunkBuffer();
  let bytes = new Uint8Array(1_024);
  let used = 0;
  const add = (chunk: Uint8Array) => {
    if (used + chunk.byteLength > bytes.byteLength) {
      const grown = new Uint8Array(Math.max(2 * bytes.byteLength, used + chunk.byteLength));
      grown.set(bytes);
      bytes = grown;
    }
    // Copy the chunk, because a generator may reuse one buffer for all chunks.
    bytes.set(chunk, used);
    used += chunk.byteLength;
  };
  for (const chunk of data as Iterable<unknown>) add(encoder.encode(chunkOf(chunk, data)));
  add(encoder.endText());
  return bytesContent(bytes.subarray(0, used));
}

/**
 * Whether data is a Blob, judging by its members: `instanceof` is false for Blobs from other
 * realms.
 */
export function isBlob(data: unknown): data is Blob {
  const { arrayBuffer, size } = Object(data) as Partial<Blob>;
  return typeof arrayBuffer === "function" && typeof size === "number";
}

/**
 * Whether a Blob can be read in a single call. In Bun, the size of a pipe is Infinity and that of
 * an S3 file is NaN.
 */
export function isReadable({ size }: Blob): boolean {
  return size >= 0 && size <= MAX_BLOB_BYTES;
}

/** Reads a Blob. This may stall, because a Blob can be backed by a file. */
export function* readBlob(opener: Opener, blob: Blob): Steps<Content> {
  const read = async () => new Uint8Array(await blob.arrayBuffer());
  const bytes = yield* opened(opener, () => untilAborted(read(), opener.signal));
  if (bytes.byteLength !== blob.size) throw notWhole(bytes.byteLength, blob.size);
  return bytesContent(bytes);
}

/**
 * Returns a chunk as text or bytes; throws a TypeError if it is invalid. `source` is the iterable
 * that the chunk comes from, if any.
 */
export function chunkOf(chunk: unknown, source?: unknown): Uint8Array | string {
  if (typeof chunk === "string") return chunk;
  const bytes = viewOf(chunk);
  if (bytes !== undefined) return bytes;
  const what = source === undefined ? "Chunk" : `Each chunk of ${kindOf(source)}`;
  throw new TypeError(
    `${what} must be a string, an ArrayBuffer or a view of one: received ${kindOf(chunk)}`,
  );
}

/** Content backed by bytes that the caller can still transfer, detach or resize. */
export function bytesContent(bytes: Uint8Array): Content {
  const length = bytes.byteLength;
  const bufferLength = bytes.buffer.byteLength;
  return {
    length,
    slice(start) {
      if (bytes.buffer.byteLength !== bufferLength) throw notWhole(bytes.byteLength, length);
      if (start === 0 && length <= SLICE_BYTES) return bytes;
      // `subarray` would call the constructor of the caller's class.
      const size = Math.min(length - start, SLICE_BYTES);
      return new Uint8Array(bytes.buffer, bytes.byteOffset + start, size);
    },
  };
}

/** Encoded lazily, because most versions queued for a path are never written. */
function textContent(text: string): Content {
  let bytes: Uint8Array | undefined;
  const encoded = () => bytes ??= new TextEncoder().encode(text);
  return {
    get length() {
      return encoded().byteLength;
    },
    slice: (start) => encoded().subarray(start, start + SLICE_BYTES),
  };
}

function notWhole(now: number, given: number): TypeError {
  return new TypeError(
    "Data was transferred, detached or resized before it was written: " +
      `it had ${given} bytes and now has ${now}. Do not change data until the write completes`,
  );
}

/** The bytes of an ArrayBuffer or a view; undefined for other values. */
function viewOf(data: unknown): Uint8Array | undefined {
  if (ArrayBuffer.isView(data)) {
    const isEmpty = data.byteLength === 0;
    if (!isEmpty && data instanceof Uint8Array && data.buffer instanceof ArrayBuffer) return data;
    // Throws for a typed array that only seems empty because it is detached or out of bounds.
    if (isEmpty && "length" in data) Uint8Array.prototype.keys.call(data);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    // Copy shared memory: other threads can change it during the write, and file calls reject it.
    return types.isArrayBuffer(data.buffer) ? bytes : bytes.slice();
  }
  // Check neither the class, which differs in other realms, nor the tag, which any object can fake.
  return types.isArrayBuffer(data) ? new Uint8Array(data) : undefined;
}
