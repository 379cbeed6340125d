import { Buffer } from "node:buffer";

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * The name of a directory's entry. One that is no UTF-8 has a lone surrogate for each byte beyond
 * ASCII, as Python's "surrogateescape" has it (PEP 383), since decoded otherwise it would be lost.
 */
export function nameOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte))
      .join("");
  }
}

/** A path for node:fs, with the bytes of {@linkcode nameOf} in the place of the surrogates. */
export function nativePath(path: string): string | Buffer {
  if (!/[\udc80-\udcff]/u.test(path)) return path;
  const encoder = new TextEncoder();
  const parts = Array.from(path, (character) => {
    const code = character.codePointAt(0)!;
    return code >= 0xdc80 && code <= 0xdcff ? [code - 0xdc00] : [...encoder.encode(character)];
  });
  return Buffer.from(parts.flat());
}
