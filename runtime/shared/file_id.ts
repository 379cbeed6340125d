/** File indexes that mean "none", as on FAT over some networks and on WebDAV. */
const NONE: readonly bigint[] = [0n, 2n ** 64n - 1n];

/** See {@linkcode FileInfo.id}. The numbers come from stat(2), and can be signed or unsigned. */
export function fileId(
  { dev, ino }: { dev: number | bigint; ino: number | bigint },
  windows: boolean,
): string {
  if (!windows) return `${dev}:${ino}`;
  const index = BigInt.asUintN(64, BigInt(ino));
  // Recent versions of Windows report 64 bits of the volume number by path, but only the lower 32
  // by handle.
  return NONE.includes(index) ? "" : `${BigInt.asUintN(32, BigInt(dev))}:${index}`;
}
