import * as fs from "node:fs";
import process from "node:process";
import type { FileInfo, OpenFile } from "../types.ts";
import { isWindows } from "../shared/platform.ts";
import { statOf } from "./stat.ts";

/** Converts a callback-style call to a promise, at half the cost of `fs.promises`. */
export function settled<T = void>(
  call: (done: (error?: Error | null, value?: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => error ? reject(error) : resolve(value as T));
  });
}

/** `node --permission` forbids fsync, fchown and fchmod. */
export function isRestricted(): boolean {
  return (process as { permission?: unknown }).permission !== undefined;
}

/** The flags for creating a temporary file. */
export function creation(): string | number {
  const { O_WRONLY, O_CREAT, O_EXCL, O_SYNC } = fs.constants;
  // If fsync is forbidden, each write must itself wait until the data is on disk.
  return isRestricted() ? O_WRONLY | O_CREAT | O_EXCL | O_SYNC : "wx";
}

/** The flags for opening an existing file. */
export function existing(access: "read" | "write"): number {
  const { O_RDONLY, O_RDWR, O_WRONLY, O_NOFOLLOW = 0, O_SYNC } = fs.constants;
  // Windows can only sync files that are open for writing.
  const reading = isWindows ? O_RDWR : O_RDONLY;
  const flags = access === "read" ? reading : O_WRONLY;
  return flags | O_NOFOLLOW | (isRestricted() ? O_SYNC : 0);
}

/** Opens a file. */
export async function openFile(
  path: string,
  flags: string | number,
  mode?: number,
): Promise<OpenFile> {
  const descriptor = await settled<number>((done) => fs.open(path, flags, mode, done));
  return fileOf(flags, descriptor);
}

/** The synchronous form of {@linkcode openFile}. */
export function openFileSync(path: string, flags: string | number, mode?: number): OpenFile {
  return fileOf(flags, fs.openSync(path, flags, mode));
}

function fileOf(flags: string | number, descriptor: number): OpenFile {
  let isSynced = false;
  return {
    write(bytes, isSync) {
      if (isSync) return fs.writeSync(descriptor, bytes);
      return settled((done) => fs.write(descriptor, bytes, 0, bytes.byteLength, null, done));
    },
    read(into, isSync) {
      if (isSync) return fs.readSync(descriptor, into);
      return settled((done) => fs.read(descriptor, into, 0, into.byteLength, null, done));
    },
    truncate(length, isSync) {
      if (isSync) return fs.ftruncateSync(descriptor, length);
      return settled((done) => fs.ftruncate(descriptor, length, done));
    },
    sync(isSync) {
      // Each write to a file has already waited until its data was on disk: see creation().
      if (isRestricted() && flags !== "r") return;
      isSynced = true;
      return isSync ? fs.fsyncSync(descriptor) : settled((done) => fs.fsync(descriptor, done));
    },
    close(isSync) {
      // After a sync, close(2) cannot block, and a thread hop would cost more. Nothing is written
      // to a file after it is synced.
      if (isSync || isSynced) return fs.closeSync(descriptor);
      return settled((done) => fs.close(descriptor, done));
    },
    stat: () => statOf(descriptor),
    chown: (path, uid, gid) =>
      isRestricted()
        ? changeByPath(path, statOf(descriptor), () => fs.lchownSync(path, uid, gid))
        : fs.fchownSync(descriptor, uid, gid),
    chmod: (path, mode) =>
      isRestricted()
        ? changeByPath(path, statOf(descriptor), () => fs.chmodSync(path, mode))
        : fs.fchmodSync(descriptor, mode),
  };
}

/**
 * Changes a file by path, since `node --permission` forbids changes by descriptor. This is racy: a
 * program that can write to the directory may swap in a link.
 */
function changeByPath(path: string, own: FileInfo, change: () => void): void {
  const { dev, ino } = fs.lstatSync(path, { bigint: true });
  if (own.id !== `${dev}:${ino}`) {
    throw Object.assign(new Error(`'${path}' was replaced by another file`), { code: "ESTALE" });
  }
  change();
}
