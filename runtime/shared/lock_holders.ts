import * as fs from "node:fs";
import process from "node:process";

/**
 * The ids of the live processes that hold a flock(2) lock of a file, from `/proc/locks`; null
 * where there is none, or where it does not tell (a process of another pid namespace).
 *
 * @see {@link https://man7.org/linux/man-pages/man5/proc_locks.5.html}
 */
export function holdersOf(path: string): number[] | null {
  if (process.platform !== "linux") return null;
  try {
    const stat = fs.statSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) return [];
    const locks = flocks(fs.readFileSync("/proc/locks", "utf8"));
    // Node tells numbers from 2^63 on as negative ones.
    const number = String(BigInt.asUintN(64, stat.ino));
    const ofInode = locks.filter(({ ino }) => ino === number);
    const own = ofInode.filter(({ device }) => device === deviceName(stat.dev));
    // btrfs and overlayfs tell another device there than in stat(2).
    if (own.length === 0) return ofInode.length === 0 ? [] : null;
    const pids = own.flatMap(({ pid }) => isLive(pid) ? [pid] : openedBy(number));
    return pids.length === 0 ? null : [...new Set(pids)].sort((a, b) => a - b);
  } catch {
    return null; // It is a help for people, and nothing fails without it.
  }
}

/** The granted flock(2) locks that a text in the form of /proc/locks lists. */
function flocks(text: string): { pid: number; device: string; ino: string }[] {
  const lines = text.matchAll(/^(?:lock:\s*)?\d+: FLOCK +\S+ +\S+ +(-?\d+) (\w+:\w+):(\d+) /gm);
  return Array.from(lines, ([, pid, device, ino]) => ({
    pid: Number(pid),
    device: device!,
    ino: ino!,
  }));
}

/** The name of a device in /proc/locks, from its number in stat(2): see makedev(3). */
function deviceName(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return [major, minor].map((number) => number.toString(16).padStart(2, "0")).join(":");
}

function isLive(pid: number): boolean {
  return pid > 0 && fs.existsSync(`/proc/${pid}`);
}

/**
 * Who has a lock whose taker has died: the processes that inherited its descriptor, as the
 * command of a flock(1) does when its shell is killed.
 */
function openedBy(ino: string): number[] {
  const pids = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => {
    try {
      return fs.readdirSync(`/proc/${pid}/fdinfo`).some((descriptor) => {
        const text = fs.readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, "utf8");
        return flocks(text).some((lock) => lock.ino === ino);
      });
    } catch {
      return false; // It has ended, or is another user's.
    }
  }).map(Number);
}
