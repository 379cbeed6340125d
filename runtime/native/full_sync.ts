import process from "node:process";
import { errorName } from "../shared/errno.ts";
import { systemError } from "./errors.ts";
import type { UnixCalls } from "./calls_unix.ts";

/** What F_FULLFSYNC of macOS fails with on a file system that has none, such as SMB. */
const NO_FULL_SYNC = new Set(["EINVAL", "ENOTSUP", "ENOTTY", "EOPNOTSUPP"]);
/** The command of fcntl(2). */
const F_FULLFSYNC = 51;

/**
 * Whether a failed sync is to be let pass: Deno syncs with F_FULLFSYNC on macOS, and falls back to
 * nothing, so that no file on a share could be written.
 */
export function isNoFullSync(code: string | undefined, platform: string): boolean {
  return platform === "darwin" && NO_FULL_SYNC.has(code ?? "");
}

/** Whether `fsync` of this runtime leaves data in the drive's cache: Bun's, on macOS. */
export function lacksFullSync(): boolean {
  // dnt-shim-ignore
  return process.platform === "darwin" && "Bun" in globalThis;
}

/** Has the drive write its cache, after an fsync. Blocks: FFI has no threads of its own for it. */
export function fullSync({ fcntl }: UnixCalls, descriptor: number): void {
  const errno = fcntl(descriptor, F_FULLFSYNC);
  const code = errorName(errno);
  if (errno !== 0 && !NO_FULL_SYNC.has(code ?? "")) throw systemError(code, errno, "fcntl", "");
}
