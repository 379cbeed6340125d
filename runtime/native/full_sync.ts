import process from "node:process";
import { errorName, systemError } from "../shared/error_codes.ts";
import type { UnixCalls } from "./calls_unix.ts";

/** How macOS's F_FULLFSYNC fails on a file system that lacks it, such as SMB. */
const NO_FULL_SYNC = new Set(["EINVAL", "ENOTSUP", "ENOTTY", "EOPNOTSUPP"]);
/** A command of fcntl(2). */
const F_FULLFSYNC = 51;

/**
 * Whether a failed sync can be ignored: Deno syncs with F_FULLFSYNC on macOS and has no fallback,
 * so no file on a network share could be written.
 */
export function isNoFullSync(code: string | undefined, platform: string): boolean {
  return platform === "darwin" && NO_FULL_SYNC.has(code ?? "");
}

/** Whether this runtime's `fsync` leaves data in the drive's cache: Bun's does on macOS. */
export function lacksFullSync(): boolean {
  // dnt-shim-ignore
  return process.platform === "darwin" && "Bun" in globalThis;
}

/** Flushes the drive's cache, after an fsync. Blocks: FFI has no threads of its own for it. */
export function fullSync({ fcntl }: UnixCalls, descriptor: number): void {
  const errno = fcntl(descriptor, F_FULLFSYNC);
  const code = errorName(errno);
  if (errno !== 0 && !NO_FULL_SYNC.has(code ?? "")) throw systemError(code, errno, "fcntl", "");
}
