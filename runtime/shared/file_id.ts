/** File indexes that mean "none", as reported for WebDAV and for FAT on some network shares. */
const NONE: readonly bigint[] = [0n, 2n ** 64n - 1n];

/** See {@linkcode FileInfo.id}. The numbers come from stat(2) and can be signed or unsigned. */
export function fileId(
  { dev, ino }: { dev: number | bigint; ino: number | bigint },
  windows: boolean,
): string {
  if (!windows) return `${dev}:${ino}`;
  const index = BigInt.asUintN(64, BigInt(ino));
  // Recent versions of Windows report a 64-bit volume number for a path, but only its lower 32 bits
  // for a handle.
  return NONE.includes(index) ? "" : `${BigInt.asUintN(32, BigInt(dev))}:${index}`;
}
