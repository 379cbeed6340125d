import { ensureDir, ensureDirSync } from "@std/fs/ensure-dir";
import * as nodeFs from "node:fs";
import process from "node:process";
import { errorName } from "./errno.ts";
import { holdersOf } from "./linux_locks.ts";
import { sleepSync } from "./sleep.ts";
import type { ErrorCode, FileInfo, LockFile, OpenFile, Runtime } from "./types.ts";

const lookups: Pick<Runtime["sync"], "lstat" | "stat" | "readLink"> = {
  lstat: (path) => infoAt(path, Deno.lstatSync),
  stat: (path) => infoAt(path, Deno.statSync),
  readLink: (path) => Deno.readLinkSync(path),
};

/** The platform as Deno has it. */
export const denoRuntime: Runtime = {
  async: {
    ...lookups,
    readDir: async (path) => {
      const names: string[] = [];
      for await (const { name } of Deno.readDir(path)) names.push(name);
      return names;
    },
    readFile: (path) => Deno.readFile(path),
    create: async (path, mode) => asyncFile(path, await Deno.open(path, creation(mode))),
    openExisting: async (path, access) => {
      return asyncFile(path, await Deno.open(path, { [access]: true }));
    },
    writeNew: (path, bytes, mode) => Deno.writeFile(path, bytes, creation(mode)),
    rename: (from, to) => Deno.rename(from, to),
    link: (from, to) => Deno.link(from, to),
    remove: (path) => Deno.remove(path),
    ensureDir: (path) => ensureDir(path),
    syncDir: async (path) => {
      const directory = await Deno.open(path);
      try {
        await directory.sync();
      } finally {
        directory.close();
      }
    },
  },
  sync: {
    ...lookups,
    readDir: (path) => Array.from(Deno.readDirSync(path), ({ name }) => name),
    readFile: (path) => Deno.readFileSync(path),
    create: (path, mode) => syncFile(path, Deno.openSync(path, creation(mode))),
    openExisting: (path, access) => syncFile(path, Deno.openSync(path, { [access]: true })),
    writeNew: (path, bytes, mode) => Deno.writeFileSync(path, bytes, creation(mode)),
    rename: (from, to) => Deno.renameSync(from, to),
    link: (from, to) => Deno.linkSync(from, to),
    remove: (path) => Deno.removeSync(path),
    ensureDir: (path) => ensureDirSync(path),
    syncDir: (path) => {
      const directory = Deno.openSync(path);
      try {
        directory.syncSync();
      } finally {
        directory.close();
      }
    },
  },
  get windows() {
    return Deno.build.os === "windows";
  },
  get foldsNames() {
    return Deno.build.os === "windows" || Deno.build.os === "darwin";
  },
  // Until Deno 2.9.6 each wait holds one of the 32 threads that all file calls
  // share; with all of them waiting, the holder of the lock could not go on
  // (https://github.com/denoland/deno/issues/22504).
  kernelWaits: 4,
  cwd: () => Deno.cwd(),
  sleep: sleepSync,
  openLock: (path, access) => {
    return lockFile(path, Deno.openSync(path, { read: true, write: access === "read-write" }));
  },
  lockHolders: (path) => mayReadProc() ? holdersOf(path) : null,
  codeOf,
  error: (code, message) => Object.assign(new (errorClass(code))(message), { code }),
  onExit: (listener) => addEventListener("unload", listener),
  warn: (message) => process.emitWarning(message),
  unref: (timer) => {
    if (typeof timer === "number") Deno.unrefTimer(timer);
    else (timer as { unref?: () => void }).unref?.();
  },
};

function creation(mode: number | undefined) {
  const options = { write: true, createNew: true };
  return mode === undefined ? options : { ...options, mode };
}

function infoAt(path: string, lookup: (path: string) => Deno.FileInfo): FileInfo | undefined {
  try {
    return info(path, lookup(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function info(path: string, of: Deno.FileInfo): FileInfo {
  return {
    kind: of.isFile ? "file" : of.isDirectory ? "directory" : of.isSymlink ? "symlink" : "other",
    id: fileId(path, of),
    mode: (of.mode ?? 0) & 0o7777,
    uid: of.uid ?? 0,
    gid: of.gid ?? 0,
    mtime: of.mtime?.getTime() ?? 0,
  };
}

/** Deno tells numbers of files as doubles: beyond 2^53 two files could seem to be one. */
function fileId(path: string, { dev, ino, isSymlink }: Deno.FileInfo): string {
  if (ino === null) return "";
  if (Number.isSafeInteger(ino) && Deno.build.os !== "windows") return `${dev}:${ino}`;
  const stat = isSymlink ? nodeFs.lstatSync : nodeFs.statSync;
  const exact = stat(path, { bigint: true, throwIfNoEntry: false });
  // What is at the path by now may be another file than the one that was asked about.
  if (exact === undefined || Number(exact.ino) !== ino) return `${dev}:${ino}:replaced`;
  return `${exact.dev}:${exact.ino}`;
}

function asyncFile(path: string, file: Deno.FsFile): OpenFile {
  return {
    write: (bytes) => file.write(bytes),
    read: async (into) => await file.read(into) ?? 0,
    truncate: (length) => file.truncate(length),
    sync: () => file.sync(),
    ...shared(path, file),
  };
}

function syncFile(path: string, file: Deno.FsFile) {
  return {
    write: (bytes: Uint8Array) => file.writeSync(bytes),
    read: (into: Uint8Array) => file.readSync(into) ?? 0,
    truncate: (length: number) => file.truncateSync(length),
    sync: () => file.syncSync(),
    ...shared(path, file),
  };
}

function shared(path: string, file: Deno.FsFile) {
  return {
    close: () => file.close(),
    stat: () => info(path, file.statSync()),
    chown: (uid: number, gid: number) =>
      change(path, file, (fd) => nodeFs.fchownSync(fd, uid, gid)),
    chmod: (mode: number) => change(path, file, (fd) => nodeFs.fchmodSync(fd, mode)),
  };
}

/**
 * `Deno.FsFile` has no chown and chmod. By path they would follow a link that
 * someone put in the file's place, and change the file that it points to: so
 * open the file once more, without following, and see that it is the same.
 */
function change(path: string, file: Deno.FsFile, by: (descriptor: number) => void): void {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = nodeFs.constants;
  const descriptor = nodeFs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const found = nodeFs.fstatSync(descriptor);
    const own = file.statSync();
    if (found.dev !== own.dev || found.ino !== own.ino) {
      throw denoRuntime.error("ESTALE", `'${path}' was replaced by another file`, path);
    }
    by(descriptor);
  } finally {
    nodeFs.closeSync(descriptor);
  }
}

function lockFile(path: string, file: Deno.FsFile): LockFile {
  return {
    id: fileId(path, file.statSync()),
    tryLock: (exclusive) => file.tryLockSync(exclusive),
    lock: (exclusive) => file.lock(exclusive),
    unlock: () => file.unlockSync(),
    close: () => file.close(),
  };
}

/** Deno lets nobody read in /proc who has not been granted everything, and would prompt. */
function mayReadProc(): boolean {
  const names = ["read", "write", "run", "env", "net", "sys", "ffi"] as const;
  return names.every((name) => Deno.permissions.querySync({ name }).state === "granted");
}

/** Deno gives no code for EINTR, ENFILE, ENOLCK, ENOSYS, EDQUOT, EFBIG and others. */
function codeOf(error: { code?: unknown; message?: unknown }): string | undefined {
  if (typeof error.code === "string") return error.code;
  const [, number] = /\(os error (\d+)\)/.exec(String(error.message)) ?? [];
  // The numbers of Windows are not those of errno(3).
  if (number === undefined || Deno.build.os === "windows") return undefined;
  return errorName(Number(number));
}

function errorClass(code: ErrorCode): new (message: string) => Error {
  switch (code) {
    case "EBUSY":
      return Deno.errors.Busy;
    case "EEXIST":
      return Deno.errors.AlreadyExists;
    case "EISDIR":
      return Deno.errors.IsADirectory;
    case "ELOOP":
      return Deno.errors.FilesystemLoop;
    case "ENOTDIR":
      return Deno.errors.NotADirectory;
    case "ENOTSUP":
      return Deno.errors.NotSupported;
    default:
      return Error;
  }
}
