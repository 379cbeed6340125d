import * as fs from "node:fs";
import process from "node:process";
import { errorName } from "./errno.ts";
import { fullSync, lacksFullSync } from "./full_sync.ts";
import { holdersOf } from "./linux_locks.ts";
import { loadedWindowsCalls, unixCallsIfAny } from "./native.ts";
import { openLock } from "./node_lock.ts";
import { infoAt, statOf } from "./node_stat.ts";
import { sleepSync } from "./sleep.ts";
import type { OpenFile, Runtime } from "./types.ts";
import { notSupported } from "./windows_errors.ts";
import { isRefusal } from "./windows_refusal.ts";
import { posixRename } from "./windows_rename.ts";

const lookups: Pick<Runtime["sync"], "lstat" | "stat" | "readLink"> = {
  lstat: (path) => infoAt(path, fs.lstatSync),
  stat: (path) => infoAt(path, fs.statSync),
  readLink: (path) => fs.readlinkSync(path),
};

/** The platform as Node and Bun have it. */
export const nodeRuntime: Runtime = {
  async: {
    ...lookups,
    readDir: (path) => fs.promises.readdir(path),
    readFile: async (path) => plain(await fs.promises.readFile(path)),
    create: (path, mode) => asyncOpen(path, "wx", writable(mode)),
    openExisting: (path, access) => asyncOpen(path, existing(access)),
    rename: (from, to) => {
      const renamed = settled((done) => fs.rename(from, to, done));
      return isWindows() ? renamed.catch((error) => renameAnyway(from, to, error)) : renamed;
    },
    link: (from, to) => {
      const linked = settled((done) => fs.link(from, to, done));
      return isWindows() ? linked.catch(noLinks) : linked;
    },
    remove: (path) => settled((done) => fs.unlink(path, done)),
    ensureDir: async (path) => void await fs.promises.mkdir(path, { recursive: true }),
    syncDir: async (path) => {
      const directory = await asyncOpen(path, "r");
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    },
  },
  sync: {
    ...lookups,
    readDir: (path) => fs.readdirSync(path),
    readFile: (path) => plain(fs.readFileSync(path)),
    create: (path, mode) => syncFile(fs.openSync(path, creation(), writable(mode))),
    openExisting: (path, access) => syncFile(fs.openSync(path, existing(access))),
    rename: (from, to) => {
      try {
        fs.renameSync(from, to);
      } catch (error) {
        renameAnyway(from, to, error);
      }
    },
    link: (from, to) => {
      try {
        fs.linkSync(from, to);
      } catch (error) {
        noLinks(error);
      }
    },
    remove: (path) => fs.unlinkSync(path),
    ensureDir: (path) => void fs.mkdirSync(path, { recursive: true }),
    syncDir: (path) => {
      const descriptor = fs.openSync(path, "r");
      try {
        fs.fsyncSync(descriptor);
      } finally {
        fs.closeSync(descriptor);
      }
    },
  },
  get windows() {
    return isWindows();
  },
  get foldsNames() {
    return isWindows() || process.platform === "darwin";
  },
  // A wait in libuv's pool of four threads would stop every file call of the
  // process, that of the lock's holder too (https://github.com/nodejs/node/issues/122).
  kernelWaits: 0,
  cwd: () => process.cwd(),
  realPath: (path) => fs.realpathSync.native(path),
  // As cmd.exe hands it on, and the C library of Windows keeps it.
  cwdOf: (drive) => process.env[`=${drive.toUpperCase()}`],
  sleep: sleepSync,
  openLock,
  lockHolders: holdersOf,
  codeOf,
  error: (code, message, path) => Object.assign(new Error(message), { code, path }),
  onExit: (listener) => void process.on("exit", listener),
  warn: (message) => process.emitWarning(message),
  unref: (timer) => void (timer as { unref?: () => void }).unref?.(),
};

/** Some codes libuv does not know, EDQUOT among them: "Unknown system error -122". */
function codeOf({ code, errno }: { code?: unknown; errno?: unknown }): string | undefined {
  if (typeof code !== "string") return undefined;
  return code.startsWith("Unknown system error") ? errorName(-Number(errno)) ?? code : code;
}

function isWindows(): boolean {
  return process.platform === "win32";
}

/** A mode without the owner's write bit would make a file of Windows read-only for good. */
function writable(mode: number | undefined): number | undefined {
  return isWindows() ? undefined : mode;
}

/** Over a target that others have open Windows renames only when asked in another way. */
function renameAnyway(from: string, to: string, error: unknown): void {
  const calls = isRefusal(codeOf(error as NodeJS.ErrnoException)) && loadedWindowsCalls();
  if (!calls || !posixRename(calls, from, to)) throw error;
}

function noLinks(error: unknown): never {
  throw isWindows() ? notSupported(error, codeOf(error as NodeJS.ErrnoException)) : error;
}

/** The promise of a call with a callback, at half of the cost of `fs.promises`. */
function settled(call: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => error === null ? resolve() : reject(error));
  });
}

/** `node --permission` forbids fsync, fchown and fchmod by descriptor, but not by FileHandle. */
function restricted(): boolean {
  return (process as { permission?: unknown }).permission !== undefined;
}

function creation(): string | number {
  const { O_WRONLY, O_CREAT, O_EXCL, O_SYNC } = fs.constants;
  // Where fsync is forbidden, each write has to reach the disk by itself.
  return restricted() ? O_WRONLY | O_CREAT | O_EXCL | O_SYNC : "wx";
}

function existing(access: "read" | "write"): number {
  const { O_RDONLY, O_WRONLY, O_NOFOLLOW = 0 } = fs.constants;
  return (access === "read" ? O_RDONLY : O_WRONLY) | O_NOFOLLOW;
}

/** The bytes without what a Buffer adds: its `slice` and `toString` are not a Uint8Array's. */
function plain(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

async function asyncOpen(path: string, flags: string | number, mode?: number): Promise<OpenFile> {
  if (restricted()) return handleFile(await fs.promises.open(path, flags, mode));
  const descriptor = await new Promise<number>((resolve, reject) => {
    fs.open(path, flags, mode, (error, fd) => error === null ? resolve(fd) : reject(error));
  });
  let synced = false;
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        synced = false;
        fs.write(descriptor, bytes, 0, bytes.byteLength, null, (error, written) => {
          error === null ? resolve(written) : reject(error);
        });
      }),
    read: (into) =>
      new Promise((resolve, reject) => {
        fs.read(descriptor, into, 0, into.byteLength, null, (error, read) => {
          error === null ? resolve(read) : reject(error);
        });
      }),
    truncate: (length) => {
      synced = false;
      return settled((done) => fs.ftruncate(descriptor, length, done));
    },
    sync: async () => {
      await settled((done) => fs.fsync(descriptor, done));
      if (lacksFullSync()) syncDrive(descriptor);
      synced = true;
    },
    // At once where nothing is left that a disk could keep it waiting for: a hop costs more.
    close: () =>
      synced
        ? fs.closeSync(descriptor)
        : settled((done) => fs.close(descriptor, (error) => done(error ?? null))),
    ...attributes(descriptor),
  };
}

function handleFile(handle: fs.promises.FileHandle): OpenFile {
  return {
    write: async (bytes) => (await handle.write(bytes)).bytesWritten,
    read: async (into) => (await handle.read(into, 0, into.byteLength, null)).bytesRead,
    truncate: (length) => handle.truncate(length),
    sync: () => handle.sync(),
    close: () => handle.close(),
    stat: () => statOf(handle.fd),
    chown: (uid, gid) => handle.chown(uid, gid),
    chmod: (mode) => handle.chmod(mode),
  };
}

function syncFile(descriptor: number) {
  return {
    write: (bytes: Uint8Array) => fs.writeSync(descriptor, bytes),
    read: (into: Uint8Array) => fs.readSync(descriptor, into),
    truncate: (length: number) => fs.ftruncateSync(descriptor, length),
    sync: () => {
      if (restricted()) return;
      fs.fsyncSync(descriptor);
      if (lacksFullSync()) syncDrive(descriptor);
    },
    close: () => fs.closeSync(descriptor),
    ...attributes(descriptor),
  };
}

function syncDrive(descriptor: number): void {
  const calls = unixCallsIfAny();
  if (calls !== undefined) fullSync(calls, descriptor);
}

function attributes(descriptor: number) {
  return {
    stat: () => statOf(descriptor),
    chown: (uid: number, gid: number) => fs.fchownSync(descriptor, uid, gid),
    chmod: (mode: number) => fs.fchmodSync(descriptor, mode),
  };
}
