/** An error as node:fs makes them. */
export function systemError(
  code = "UNKNOWN",
  errno: number,
  syscall: string,
  path: string,
): NodeJS.ErrnoException {
  const error = new Error(`${code}: ${syscall} '${path}'`);
  return Object.assign(error, { code, errno: -errno, syscall, path });
}

/** {@linkcode LockFile.lock} where there is no thread to wait on. */
export function noKernelWait(): Promise<never> {
  return Promise.reject(new Error("Waits in the kernel are not possible here"));
}
