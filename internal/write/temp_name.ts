import { basename } from "@std/path/basename";

/** The longest temporary name, unless the target's is longer: eCryptfs allows no more. */
const NAME_BYTES = 143;
/** The longest path on Linux, limits.h: `PATH_MAX` without the NUL. */
const PATH_BYTES = 4_095;
/** A temporary name adds to `{name}`: three dots, 16 digits and an extension of at most 4. */
const EXTRA_BYTES = 23;

const DIGITS = "[0-9a-f]{16}";
const TEMP_NAME = new RegExp(`^\\.[^/]+\\.${DIGITS}\\.tmp$`, "s");

/** Whether a name is one that {@linkcode tempPath} makes. */
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
  // The end of a UUID is random but for two bits. The runtimes keep a store of random bytes for it.
  const digits = crypto.randomUUID().slice(19).replace("-", "");
  return `${directory}.${stemOf(name, directory)}.${digits}.${ending}`;
}

/** As many whole characters of a name as fit into a temporary one. */
function stemOf(name: string, directory: string): string {
  // A UTF-16 unit has at most three bytes in UTF-8.
  const most = name.length * 3 + EXTRA_BYTES;
  if (most <= NAME_BYTES && directory.length * 3 + most <= PATH_BYTES) return name;
  const bytes = (text: string) => new TextEncoder().encode(text).byteLength;
  // The file system allows names as long as the target's own; Windows counts UTF-16 units.
  const units = Math.max(NAME_BYTES, name.length) - EXTRA_BYTES;
  const room = Math.min(
    Math.max(NAME_BYTES, bytes(name)) - EXTRA_BYTES,
    PATH_BYTES - bytes(directory) - EXTRA_BYTES,
  );
  let [stem, used] = ["", 0];
  for (const character of name) {
    used += bytes(character);
    if (stem !== "" && (used > room || stem.length + character.length > units)) break;
    stem += character;
  }
  return stem;
}
