import * as fs from "node:fs";
import process from "node:process";
import { fullSync, lacksFullSync } from "../native/full_sync.ts";
import { unixCallsIfAny } from "../native/mod.ts";
import { isWindows, statOf } from "./stat.ts";
import type { FileInfo, OpenFile } from "../types.ts";

/** Opens a file for asynchronous calls. */
export function openFile(
  path: string,
  flags: string | number,
  mode?: number,
): Promise<OpenFile> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, mode, (error, descriptor) => {
      if (error !== null) reject(error);
      else resolve(new AsyncFile(path, descriptor));
    });
  });
}

/** Opens a file for synchronous calls. */
export function openFileSync(path: string, flags: string | number, mode?: number): SyncFile {
  return new SyncFile(path, fs.openSync(path, flags, mode));
}

/** A promise for a call with a callback, at half the cost of `fs.promises`. */
export function settled(call: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => error === null ? resolve() : reject(error));
  });
}

/** `node --permission` forbids fsync, fchown and fchmod. */
export function isRestricted(): boolean {
  return (process as { permission?: unknown }).permission !== undefined;
}

/** The flags to create a temporary file. */
export function creation(): string | number {
  const { O_WRONLY, O_CREAT, O_EXCL, O_SYNC } = fs.constants;
  // Where fsync is forbidden, each write must reach the disk by itself.
  return isRestricted() ? O_WRONLY | O_CREAT | O_EXCL | O_SYNC : "wx";
}

/** The flags to open an existing file. */
export function existing(access: "read" | "write"): number {
  const { O_RDONLY, O_RDWR, O_WRONLY, O_NOFOLLOW = 0, O_SYNC } = fs.constants;
  // Windows syncs only files that are open for writing.
  const reading = isWindows() ? O_RDWR : O_RDONLY;
  const flags = access === "read" ? reading : O_WRONLY;
  return flags | O_NOFOLLOW | (isRestricted() ? O_SYNC : 0);
}

/** What the asynchronous and the synchronous form share. */
class NodeFile {
  readonly #path: string;
  protected readonly descriptor: number;
  protected readonly isRestricted: boolean = isRestricted();

  constructor(path: string, descriptor: number) {
    this.#path = path;
    this.descriptor = descriptor;
  }

  stat(): FileInfo {
    return statOf(this.descriptor);
  }

  chown(uid: number, gid: number): void {
    if (!this.isRestricted) return fs.fchownSync(this.descriptor, uid, gid);
    changeByPath(this.#path, this.stat(), () => fs.lchownSync(this.#path, uid, gid));
  }

  chmod(mode: number): void {
    if (!this.isRestricted) return fs.fchmodSync(this.descriptor, mode);
    changeByPath(this.#path, this.stat(), () => fs.chmodSync(this.#path, mode));
  }
}

class AsyncFile extends NodeFile implements OpenFile {
  /** Whether the last sync covers every write. */
  #synced = false;

  write(bytes: Uint8Array): Promise<number> {
    this.#synced = false;
    return new Promise((resolve, reject) => {
      fs.write(this.descriptor, bytes, 0, bytes.byteLength, null, (error, written) => {
        error === null ? resolve(written) : reject(error);
      });
    });
  }

  read(into: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.descriptor, into, 0, into.byteLength, null, (error, read) => {
        error === null ? resolve(read) : reject(error);
      });
    });
  }

  truncate(length: number): Promise<void> {
    this.#synced = false;
    return settled((done) => fs.ftruncate(this.descriptor, length, done));
  }

  async sync(): Promise<void> {
    // Each write reached the disk by itself: see creation().
    if (this.isRestricted) return;
    await settled((done) => fs.fsync(this.descriptor, done));
    syncDrive(this.descriptor);
    this.#synced = true;
  }

  /** Synchronous if everything is on disk: it cannot block then, and a thread hop costs more. */
  close(): void | Promise<void> {
    if (this.#synced) return fs.closeSync(this.descriptor);
    return settled((done) => fs.close(this.descriptor, (error) => done(error ?? null)));
  }
}

class SyncFile extends NodeFile implements OpenFile {
  write(bytes: Uint8Array): number {
    return fs.writeSync(this.descriptor, bytes);
  }

  read(into: Uint8Array): number {
    return fs.readSync(this.descriptor, into);
  }

  truncate(length: number): void {
    fs.ftruncateSync(this.descriptor, length);
  }

  sync(): void {
    if (this.isRestricted) return;
    fs.fsyncSync(this.descriptor);
    syncDrive(this.descriptor);
  }

  close(): void {
    fs.closeSync(this.descriptor);
  }
}

/** Nothing better is allowed. A program that can write in the directory could race it with a link. */
function changeByPath(path: string, own: FileInfo, change: () => void): void {
  const { dev, ino } = fs.lstatSync(path, { bigint: true });
  if (own.id !== `${dev}:${ino}`) {
    throw Object.assign(new Error(`'${path}' was replaced by another file`), { code: "ESTALE" });
  }
  change();
}

/** Flushes the drive's cache where fsync does not: with Bun on macOS. */
function syncDrive(descriptor: number): void {
  if (!lacksFullSync()) return;
  const calls = unixCallsIfAny();
  if (calls !== undefined) fullSync(calls, descriptor);
}
