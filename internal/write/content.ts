import { kindOf } from "../base/options.ts";

/** The most bytes that one call writes, so that an abort is heard between two of them. */
export const SLICE_BYTES: number = 16 * 1024 * 1024;
/** Node 20 ends the process when a slice of a Blob begins beyond (nodejs/node#52585). */
const MAX_BLOB_BYTES = 2 ** 31 - 1;

/** Content that is in memory, as it was when it was given. */
export interface Content {
  readonly length: number;
  /**
   * The bytes from `start` on, at most a slice of them: at once, but for a Blob. Throws a
   * TypeError if they are no longer all there, so that never fewer are published than were given.
   */
  slice(start: number): Uint8Array | Promise<Uint8Array>;
  /** Whether the bytes come as a promise. */
  readonly isBlob: boolean;
}

/** Content of a string or bytes; undefined for data of another kind. */
export function contentOf(data: unknown): Content | undefined {
  if (typeof data === "string") return textContent(data);
  const bytes = viewOf(data);
  return bytes && bytesContent(bytes);
}

/** Whether data is a Blob, by what it carries: one of another realm is no instance of ours. */
export function isBlob(data: unknown): data is Blob {
  if (typeof data !== "object" || data === null) return false;
  const { stream, size } = data as Partial<Blob>;
  return typeof stream === "function" && typeof size === "number";
}

/** Content of a Blob that knows its size; undefined for one that has to be streamed, or no Blob. */
export function blobContentOf(data: unknown): Content | undefined {
  if (!isBlob(data)) return undefined;
  const [blob, length] = [data, data.size];
  // Bun's of a pipe is infinite, and of S3 it is NaN.
  if (!(length >= 0 && length <= MAX_BLOB_BYTES)) return undefined;
  return {
    length,
    isBlob: true,
    async slice(start) {
      const end = Math.min(length, start + SLICE_BYTES);
      // The whole where that is one slice: Bun's of a file that has more, or is missing, tells so.
      const part = start === 0 && end === length ? blob : blob.slice(start, end);
      const bytes = new Uint8Array(await part.arrayBuffer());
      if (bytes.byteLength !== end - start) throw notWhole(bytes.byteLength, end - start);
      return bytes;
    },
  };
}

/** Bytes of one piece of content, a string as UTF-8; throws a TypeError for another kind. */
export function chunkOf(chunk: unknown): Uint8Array | string {
  if (typeof chunk === "string") return chunk;
  const bytes = viewOf(chunk);
  if (bytes !== undefined) return bytes;
  throw new TypeError(
    `Chunk must be a string, an ArrayBuffer or a view of one: received ${kindOf(chunk)}`,
  );
}

/** Content of bytes that the caller may still transfer, detach or resize. */
export function bytesContent(bytes: Uint8Array): Content {
  const length = bytes.byteLength;
  const bufferLength = bytes.buffer.byteLength;
  return {
    length,
    isBlob: false,
    slice(start) {
      if (bytes.buffer.byteLength !== bufferLength) throw notWhole(bytes.byteLength, length);
      if (start === 0 && length <= SLICE_BYTES) return bytes;
      // Not `subarray`, which makes what it returns with the constructor of the caller's class.
      const size = Math.min(length - start, SLICE_BYTES);
      return new Uint8Array(bytes.buffer, bytes.byteOffset + start, size);
    },
  };
}

function textContent(text: string): Content {
  let bytes: Uint8Array | undefined;
  // Encoded when it is written: of many that wait, most are not.
  const encoded = () => bytes ??= new TextEncoder().encode(text);
  return {
    get length() {
      return encoded().byteLength;
    },
    isBlob: false,
    slice: (start) => encoded().subarray(start, start + SLICE_BYTES),
  };
}

function notWhole(now: number, given: number): TypeError {
  return new TypeError(
    "Data was transferred, detached or resized before it was written: " +
      `${given} bytes were given, and there are ${now} now`,
  );
}

/** The bytes of an ArrayBuffer or a view; undefined for another value. */
function viewOf(data: unknown): Uint8Array | undefined {
  if (ArrayBuffer.isView(data)) {
    const isEmpty = data.byteLength === 0;
    if (!isEmpty && data instanceof Uint8Array && data.buffer instanceof ArrayBuffer) return data;
    // An array that is detached or out of bounds seems to be empty: this throws. A DataView tells.
    if (isEmpty && "length" in data) Uint8Array.prototype.keys.call(data);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    // Other threads may change shared memory during the write, and file calls do not take it.
    return tagOf(data.buffer) === "SharedArrayBuffer" ? bytes.slice() : bytes;
  }
  return tagOf(data) === "ArrayBuffer" ? new Uint8Array(data as ArrayBuffer) : undefined;
}

/** Not by `instanceof`, since an ArrayBuffer of another realm is no instance of ours. */
function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}
