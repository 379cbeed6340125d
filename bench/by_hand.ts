/**
 * The library's operations, written by hand: the shortest code that makes the same system calls and
 * performs the same checks, each in the cheapest form that the runtime offers. This code has no
 * options, queues, signals or error context, and does not clean up after a failure.
 *
 * A replacement:
 *
 * | call | purpose | how |
 * | --- | --- | --- |
 * | lstat | check that it is a file; read its mode and owner | synchronous: the kernel answers from memory |
 * | open | `O_CREAT`, `O_EXCL`, with that mode | asynchronous |
 * | write | write everything or fail | asynchronous |
 * | fstat | check that mode and owner match the replaced file's | synchronous: the kernel answers from memory |
 * | fsync | unless "none" | asynchronous |
 * | close | | asynchronous; synchronous after fsync, since it no longer blocks |
 * | rename | | asynchronous |
 *
 * On Deno, `Deno.writeFile` opens, writes and closes in a single call, so an lstat on the path
 * replaces fstat.
 *
 * A lock takes seven calls: lstat (is it a file?), open, fstat (is it the same file?), flock, lstat
 * (is it still there?), flock to unlock, and close. All of these calls are synchronous. Like the
 * library, this code refreshes the directory after acquiring the lock if the device's major number
 * is 0 (tmpfs, network file systems).
 *
 * A JSON update acquires the lock, reads and parses the file, changes the value, replaces the file,
 * and releases the lock.
 *
 * @module
 */
import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import process from "node:process";

/** The handwritten operations for one runtime. */
export interface ByHand {
  replace(file: string, bytes: Uint8Array, sync: boolean): Promise<void>;
  replaceSync(file: string, bytes: Uint8Array, sync: boolean): void;
  /** Acquires and releases the lock on an existing file. */
  lock(file: string): void;
  /** Calls `fn` while holding that lock. */
  withLock<T>(file: string, fn: () => T): T;
}

/**
 * Whether the library refreshes this directory (by opening and closing it) after acquiring a lock
 * in it.
 */
function isRefreshed(directory: string): boolean {
  const device = fs.statSync(directory, { bigint: true }).dev;
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  return process.platform === "linux" && major === 0n;
}

/** The current runtime's operations; `library` is the URL of the module under test. */
export function byHand(library: string): ByHand {
  return "Deno" in globalThis ? denoByHand() : nodeByHand(library);
}

let number = 0;

function temporary(file: string): string {
  return `${file}.${number++}.tmp`;
}

interface Stat {
  dev: number;
  ino: number | null;
  mode: number | null;
  uid: number | null;
  gid: number | null;
}

function mustBeLike(made: Stat, old: Stat): void {
  if (made.mode !== old.mode || made.uid !== old.uid || made.gid !== old.gid) {
    throw new Error("The mode or owner differs: more calls would be needed");
  }
}

function mustBeSame(found: Stat, expected: Stat): void {
  if (found.dev !== expected.dev || found.ino !== expected.ino) {
    throw new Error("Another file");
  }
}

function mustBeFile(is: boolean): void {
  if (!is) throw new Error("Not a file");
}

function mustBeAll(written: number, bytes: Uint8Array): void {
  if (written !== bytes.byteLength) {
    throw new Error("Short write: another write is needed");
  }
}

function nodeByHand(library: string): ByHand {
  let flock: ((descriptor: number, operation: number) => number) | undefined;
  let refreshed: boolean | undefined;
  const EXCLUSIVE = 2, NON_BLOCKING = 4, UNLOCK = 8;
  return {
    replace: (file, bytes, sync) =>
      new Promise((resolve, reject) => {
        const old = fs.lstatSync(file);
        mustBeFile(old.isFile());
        const temp = temporary(file);
        fs.open(temp, "wx", old.mode & 0o777, (error, descriptor) => {
          if (error) return reject(error);
          fs.write(
            descriptor,
            bytes,
            0,
            bytes.byteLength,
            null,
            (error, written) => {
              if (error) return reject(error);
              try {
                mustBeAll(written, bytes);
                mustBeLike(fs.fstatSync(descriptor), old);
              } catch (error) {
                return reject(error);
              }
              if (sync) fs.fsync(descriptor, close);
              else close(null);
            },
          );
          function close(error: Error | null): void {
            if (error) return reject(error);
            fs.close(descriptor, (error) => {
              if (error) return reject(error);
              fs.rename(
                temp,
                file,
                (error) => error ? reject(error) : resolve(),
              );
            });
          }
        });
      }),
    replaceSync(file, bytes, sync) {
      const old = fs.lstatSync(file);
      mustBeFile(old.isFile());
      const temp = temporary(file);
      const descriptor = fs.openSync(temp, "wx", old.mode & 0o777);
      mustBeAll(fs.writeSync(descriptor, bytes), bytes);
      mustBeLike(fs.fstatSync(descriptor), old);
      if (sync) fs.fsyncSync(descriptor);
      fs.closeSync(descriptor);
      fs.renameSync(temp, file);
    },
    lock(file) {
      this.withLock(file, () => {});
    },
    withLock(file, fn) {
      flock ??= createRequire(library)("koffi").load(null).func(
        "int flock(int fd, int operation)",
      );
      const found = fs.lstatSync(file);
      mustBeFile(found.isFile());
      const descriptor = fs.openSync(file, "r+");
      mustBeSame(fs.fstatSync(descriptor), found);
      if (flock!(descriptor, EXCLUSIVE | NON_BLOCKING) !== 0) {
        throw new Error("Not free");
      }
      const dir = path.dirname(file);
      refreshed ??= isRefreshed(dir);
      if (refreshed) fs.closeSync(fs.openSync(dir, "r"));
      mustBeSame(fs.lstatSync(file), found);
      try {
        return fn();
      } finally {
        flock!(descriptor, UNLOCK);
        fs.closeSync(descriptor);
      }
    },
  };
}

function denoByHand(): ByHand {
  let refreshed: boolean | undefined;
  return {
    async replace(file, bytes, sync) {
      const old = Deno.lstatSync(file);
      mustBeFile(old.isFile);
      const temp = temporary(file);
      const options = { write: true, createNew: true, mode: old.mode! & 0o777 };
      if (sync) {
        const opened = await Deno.open(temp, options);
        mustBeAll(await opened.write(bytes), bytes);
        mustBeLike(opened.statSync(), old);
        await opened.sync();
        opened.close();
      } else {
        await Deno.writeFile(temp, bytes, options);
        mustBeLike(Deno.lstatSync(temp), old);
      }
      await Deno.rename(temp, file);
    },
    replaceSync(file, bytes, sync) {
      const old = Deno.lstatSync(file);
      mustBeFile(old.isFile);
      const temp = temporary(file);
      const options = { write: true, createNew: true, mode: old.mode! & 0o777 };
      if (sync) {
        const opened = Deno.openSync(temp, options);
        mustBeAll(opened.writeSync(bytes), bytes);
        mustBeLike(opened.statSync(), old);
        opened.syncSync();
        opened.close();
      } else {
        Deno.writeFileSync(temp, bytes, options);
        mustBeLike(Deno.lstatSync(temp), old);
      }
      Deno.renameSync(temp, file);
    },
    lock(file) {
      this.withLock(file, () => {});
    },
    withLock(file, fn) {
      const found = Deno.lstatSync(file);
      mustBeFile(found.isFile);
      const opened = Deno.openSync(file, { read: true, write: true });
      mustBeSame(opened.statSync(), found);
      if (!opened.tryLockSync(true)) throw new Error("Not free");
      const dir = path.dirname(file);
      refreshed ??= isRefreshed(dir);
      if (refreshed) Deno.openSync(dir).close();
      mustBeSame(Deno.lstatSync(file), found);
      try {
        return fn();
      } finally {
        opened.unlockSync();
        opened.close();
      }
    },
  };
}
