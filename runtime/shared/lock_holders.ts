import * as fs from "node:fs";
import process from "node:process";
import { hasDisk } from "./directory_refresh.ts";

/**
 * The statfs(2) types of local file systems (tmpfs, overlayfs, btrfs, ZFS, bcachefs) whose device
 * number is not that of a disk.
 */
const LOCAL = new Set([0x0102_1994, 0x794c_7630, 0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e]);

/**
 * The ids of the live processes that hold a flock(2) lock on a file, from `/proc/locks`. Null if
 * that file does not list all holders: it omits processes in another PID namespace or on another
 * machine, and those that inherited the lock from a process that has exited.
 *
 * @see {@link https://man7.org/linux/man-pages/man5/proc_locks.5.html}
 */
export function holdersOf(path: string): number[] | null {
  if (process.platform !== "linux") return null;
  try {
    const stat = fs.statSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) return [];
    const locks = flocks(fs.readFileSync("/proc/locks", "utf8"));
    // Node returns inode numbers of 2^63 and above as negative numbers.
    const number = String(BigInt.asUintN(64, stat.ino));
    const ofInode = locks.filter(({ ino }) => ino === number);
    const own = ofInode.filter(({ device }) => device === deviceName(stat.dev));
    // For btrfs and overlayfs, /proc/locks lists a different device than stat(2).
    if (own.length === 0) return ofInode.length === 0 && isLocal(path, stat.dev) ? [] : null;
    const pids = own.map(({ pid }) => pid).filter(isLive);
    return pids.length === 0 ? null : [...new Set(pids)].sort((a, b) => a - b);
  } catch {
    return null; // The result is used only in messages, so this must not throw.
  }
}

/** The granted flock(2) locks in the text of /proc/locks. */
function flocks(text: string): { pid: number; device: string; ino: string }[] {
  const lines = text.matchAll(/^(?:lock:\s*)?\d+: FLOCK +\S+ +\S+ +(-?\d+) (\w+:\w+):(\d+) /gm);
  return Array.from(lines, ([, pid, device, ino]) => ({
    pid: Number(pid),
    device: device!,
    ino: ino!,
  }));
}

/** Whether only processes on this machine can hold a lock on the file. */
function isLocal(path: string, device: bigint): boolean {
  return hasDisk(Number(device)) || LOCAL.has(fs.statfsSync(path).type);
}

/** A device's name in /proc/locks, derived from its stat(2) number: see makedev(3). */
function deviceName(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return [major, minor].map((number) => number.toString(16).padStart(2, "0")).join(":");
}

function isLive(pid: number): boolean {
  return pid > 0 && fs.existsSync(`/proc/${pid}`);
}
