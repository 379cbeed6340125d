/** Indexes that mean "none": FAT over some networks, WebDAV. */
const NONE: readonly bigint[] = [0n, 2n ** 64n - 1n];

/** See {@linkcode FileInfo.id}. The numbers are those of stat(2), signed or unsigned. */
export function fileId(
  { dev, ino }: { dev: number | bigint; ino: number | bigint },
  windows: boolean,
): string {
  if (!windows) return `${dev}:${ino}`;
  const index = BigInt.asUintN(64, BigInt(ino));
  // On a recent Windows the volume has 64 bits by path, and the lower 32 of them by handle.
  return NONE.includes(index) ? "" : `${BigInt.asUintN(32, BigInt(dev))}:${index}`;
}
