/**
 * Returns content that can be checked for completeness: a header with its length and a number,
 * followed by bytes derived from both.
 */
export function content(number: number, length: number): Uint8Array {
  const bytes = new Uint8Array(8 + length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length);
  view.setUint32(4, number);
  for (let i = 0, x = number * 2654435761 + length; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    bytes[8 + i] = x >>> 24;
  }
  return bytes;
}

/** Returns the number in complete content; throws if the content is torn. */
export function numberOf(bytes: Uint8Array): number {
  if (bytes.byteLength < 8) throw new Error(`Torn: ${bytes.byteLength} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [length, number] = [view.getUint32(0), view.getUint32(4)];
  const whole = content(number, length);
  if (whole.byteLength !== bytes.byteLength) {
    throw new Error(`Torn: ${bytes.byteLength} bytes of ${whole.byteLength}`);
  }
  const wrong = whole.findIndex((byte, i) => byte !== bytes[i]);
  if (wrong >= 0) throw new Error(`Torn: byte ${wrong} is not of version ${number}`);
  return number;
}

/** Creates a Blob. The runtimes' type definitions disagree about the type of a Blob's parts. */
export function blobOf(...parts: (Uint8Array | string)[]): Blob {
  return new Blob(parts as ConstructorParameters<typeof Blob>[0]);
}
