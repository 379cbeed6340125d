import * as fs from "node:fs";
import process from "node:process";

/** Whether a Linux device number belongs to a disk. Network file systems have major number 0. */
export function hasDisk(device: number): boolean {
  return ((device >>> 8) & 0xfff) !== 0;
}

/** See {@linkcode Runtime.refreshDir}. */
export function refreshDir(dir: string, fileId: string): void {
  if (process.platform !== "linux" || hasDisk(Number.parseInt(fileId))) return;
  try {
    fs.closeSync(fs.openSync(dir, "r"));
  } catch {
    // An unreadable directory is not refreshed.
  }
}

/** See {@linkcode Runtime.mayReappear}. */
export function mayReappear(dir: string, name: string): boolean {
  if (process.platform !== "linux") return false;
  try {
    if (hasDisk(fs.statSync(dir).dev)) return false;
    return fs.readdirSync(dir).some((entry) => entry.startsWith(".nfs") || entry === name);
  } catch {
    return false;
  }
}
