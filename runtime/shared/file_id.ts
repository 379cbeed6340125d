/** Numbers with which a file system says that it has none: FAT over some networks, WebDAV. */
const NONE: readonly bigint[] = [0n, 2n ** 64n - 1n];

/** See {@linkcode FileInfo.id}; the numbers as stat(2) tells them, signed or not. */
export function fileId(
  { dev, ino }: { dev: number | bigint; ino: number | bigint },
  windows: boolean,
): string {
  if (!windows) return `${dev}:${ino}`;
  const index = BigInt.asUintN(64, BigInt(ino));
  // A path's volume has 64 bits where Windows is new, a handle's the lower 32 of them.
  return NONE.includes(index) ? "" : `${BigInt.asUintN(32, BigInt(dev))}:${index}`;
}
