import { basename } from "@std/path/basename";
import { runtime } from "../../runtime/mod.ts";

/**
 * The maximum number of bytes of the target's name in a temporary name. eCryptfs limits names to
 * 143 bytes.
 */
const STEM_BYTES = 120;

const encoder = new TextEncoder();
const stem = new Uint8Array(STEM_BYTES);

const DIGITS = "[0-9a-f]{16}";
const TEMP_NAME = new RegExp(`^\\.[^/]+\\.${DIGITS}\\.tmp$`, "s");

/**
 * Returns whether a file name belongs to one of this library's temporary files:
 * `.{name}.{16 hexadecimal digits}.tmp`. Use it to ignore such files in a program that watches or
 * lists a directory.
 *
 * @param name The last component of a path.
 * @returns Whether it is the name of a temporary file.
 *
 * @example Usage
 * ```ts
 * import { isTempName } from "@aperture/atomic";
 * import { ok } from "node:assert";
 *
 * ok(isTempName(".state.json.0123456789abcdef.tmp"));
 * ok(!isTempName("state.json"));
 * ```
 */
export function isTempName(name: string): boolean {
  return TEMP_NAME.test(name);
}

/** A new path next to `target`: `.{name}.{16 hexadecimal digits}.tmp`. */
export function tempPath(target: string): string {
  return sibling(target, "tmp");
}

/** A new path for a file that must not be swept: `.{name}.{16 hexadecimal digits}.kept`. */
export function keptPath(target: string): string {
  return sibling(target, "kept");
}

function sibling(target: string, ending: string): string {
  const name = basename(target);
  const directory = target.slice(0, -name.length);
  // Keep as many whole characters as fit.
  const { read } = encoder.encodeInto(name, stem);
  // The end of a UUID is random except for two bits. The runtimes cache random bytes for UUIDs.
  const digits = runtime.randomUUID().slice(19).replace("-", "");
  return `${directory}.${name.slice(0, read)}.${digits}.${ending}`;
}
