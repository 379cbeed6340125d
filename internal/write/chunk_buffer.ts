import { Buffer } from "node:buffer";

/**
 * Small chunks are buffered up to this size. Without a buffer, writing a million 1-byte chunks took
 * 36 s.
 */
const CHUNK_BUFFER_BYTES = 64 * 1024;

/** Combines a stream's small chunks into large ones. */
export class ChunkBuffer {
  readonly #encoder = new TextEncoder();
  #gathered: Uint8Array | undefined;
  #used = 0;
  /** The first half of a surrogate pair whose second half has not arrived yet. */
  #high = "";

  /**
   * The bytes of a chunk. Strings form one continuous text, so a surrogate pair may be split
   * between two strings.
   */
  encode(chunk: Uint8Array | string): Uint8Array {
    if (typeof chunk === "string") {
      const text = this.#high + chunk;
      const end = text.length - (/[\ud800-\udbff]/.test(text.slice(-1)) ? 1 : 0);
      this.#high = text.slice(end);
      return this.#encoder.encode(text.slice(0, end));
    }
    return this.#high === "" || chunk.byteLength === 0
      ? chunk
      : Buffer.concat([this.endText(), chunk]);
  }

  /** The bytes for an unpaired first half of a surrogate pair; empty if there is none. */
  endText(): Uint8Array {
    const bytes = this.#encoder.encode(this.#high); // Becomes U+FFFD.
    this.#high = "";
    return bytes;
  }

  /** Adds a copy of the bytes; returns false if there is no room for them. */
  add(bytes: Uint8Array): boolean {
    if (bytes.byteLength > CHUNK_BUFFER_BYTES - this.#used) return false;
    this.#gathered ??= new Uint8Array(CHUNK_BUFFER_BYTES);
    this.#gathered.set(bytes, this.#used);
    this.#used += bytes.byteLength;
    return true;
  }

  /** Returns the buffered bytes, which must be written before more are added. */
  flush(): Uint8Array {
    const bytes = this.#gathered?.subarray(0, this.#used) ?? new Uint8Array();
    this.#used = 0;
    return bytes;
  }
}
