import * as fs from "node:fs";
import process from "node:process";
import { errorName } from "./errno.ts";
import { holdersOf } from "./linux_locks.ts";
import { openLock } from "./node_lock.ts";
import { infoAt, statOf } from "./node_stat.ts";
import { sleepSync } from "./sleep.ts";
import type { OpenFile, Runtime } from "./types.ts";

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
    create: (path, mode) => asyncOpen(path, "wx", mode),
    openExisting: (path, access) => asyncOpen(path, existing(access)),
    rename: (from, to) => settled((done) => fs.rename(from, to, done)),
    link: (from, to) => settled((done) => fs.link(from, to, done)),
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
    create: (path, mode) => syncFile(path, fs.openSync(path, creation(), mode)),
    openExisting: (path, access) => syncFile(path, fs.openSync(path, existing(access))),
    rename: (from, to) => fs.renameSync(from, to),
    link: (from, to) => fs.linkSync(from, to),
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
    return process.platform === "win32";
  },
  get foldsNames() {
    return process.platform === "win32" || process.platform === "darwin";
  },
  // A wait in libuv's pool of four threads would stop every file call of the
  // process, that of the lock's holder too (https://github.com/nodejs/node/issues/122).
  kernelWaits: 0,
  cwd: () => process.cwd(),
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

function syncFile(path: string, descriptor: number) {
  return {
    write: (bytes: Uint8Array) => fs.writeSync(descriptor, bytes),
    read: (into: Uint8Array) => fs.readSync(descriptor, into),
    truncate: (length: number) => fs.ftruncateSync(descriptor, length),
    sync: () => restricted() ? undefined : fs.fsyncSync(descriptor),
    close: () => fs.closeSync(descriptor),
    ...attributes(descriptor),
  };
}

function attributes(descriptor: number) {
  return {
    stat: () => statOf(descriptor),
    chown: (uid: number, gid: number) => fs.fchownSync(descriptor, uid, gid),
    chmod: (mode: number) => fs.fchmodSync(descriptor, mode),
  };
}
