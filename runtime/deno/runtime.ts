import * as nodeFs from "node:fs";
import process from "node:process";
import { codeOf, fileId, info, infoAt } from "./stat.ts";
import { foldsNames, isWindows, sleepSync } from "../shared/platform.ts";
import { mayReappear, refreshDir } from "../shared/directory_refresh.ts";
import { holdersOf } from "../shared/lock_holders.ts";
import type { DirEntry, ErrorCode, LockFile, OpenFile, Runtime } from "../types.ts";

const lookups: Pick<Runtime["sync"], "lstat" | "stat" | "readLink"> = {
  lstat: (path) => infoAt(path, Deno.lstatSync),
  stat: (path) => infoAt(path, Deno.statSync),
  readLink: (path) => Deno.readLinkSync(path),
};

/** The Deno platform. */
export const denoRuntime: Runtime = {
  async: {
    ...lookups,
    readDir: async (path) => {
      const entries: DirEntry[] = [];
      for await (const entry of Deno.readDir(path)) entries.push(entry);
      return entries;
    },
    readFile: (path) => Deno.readFile(path),
    create: async (path, mode) => openFile(path, await Deno.open(path, creation(mode))),
    openExisting: async (path, access) => openFile(path, await Deno.open(path, existing(access))),
    rename: (from, to) => Deno.rename(from, to),
    link: (from, to) => Deno.link(from, to),
    remove: (path) => Deno.remove(path),
    mkdir: (path) => Deno.mkdir(path),
    openDir: async (path) => openFile(path, await Deno.open(path)),
  },
  sync: {
    ...lookups,
    readDir: (path) => Array.from(Deno.readDirSync(path)),
    readFile: (path) => Deno.readFileSync(path),
    create: (path, mode) => openFile(path, Deno.openSync(path, creation(mode))),
    openExisting: (path, access) => openFile(path, Deno.openSync(path, existing(access))),
    rename: (from, to) => Deno.renameSync(from, to),
    link: (from, to) => Deno.linkSync(from, to),
    remove: (path) => Deno.removeSync(path),
    mkdir: (path) => Deno.mkdirSync(path),
    openDir: (path) => openFile(path, Deno.openSync(path)),
  },
  windows: isWindows,
  foldsNames,
  // Up to Deno 2.9.5, each wait occupies one of the 32 threads that all file calls share. If all 32
  // are waiting, the lock's holder cannot continue (https://github.com/denoland/deno/issues/22504).
  kernelWaits: 4,
  cwd: () => Deno.cwd(),
  realPath: (path) => Deno.realPathSync(path),
  randomUUID: () => crypto.randomUUID(),
  writableStream: (...args) => new WritableStream(...args),
  sleep: sleepSync,
  // Deno.open() always follows links.
  refusesLinkedLocks: false,
  openLock: (path, access) => {
    return lockFile(path, Deno.openSync(path, { read: true, write: access === "read-write" }));
  },
  refreshDir,
  // Callers need read permission only for the file itself, so don't prompt for the directory.
  mayReappear: (dir, name) => {
    const { state } = Deno.permissions.querySync({ name: "read", path: dir });
    return state === "granted" && mayReappear(dir, name);
  },
  lockHolders: (path) => mayReadProc() ? holdersOf(path) : null,
  codeOf,
  error: (code, message) => Object.assign(new (errorClass(code))(message), { code }),
  onExit: (listener) => addEventListener("unload", listener),
  warn: (message) => process.emitWarning(message),
};

function creation(mode: number | undefined): Deno.OpenOptions {
  return { write: true, createNew: true, ...mode !== undefined && { mode } };
}

function existing(access: "read" | "write") {
  // Windows can only sync files that are open for writing.
  return isWindows ? { read: true, write: true } : { [access]: true };
}

function openFile(path: string, file: Deno.FsFile): OpenFile {
  return {
    write: (bytes, isSync) => isSync ? file.writeSync(bytes) : file.write(bytes),
    read: (into, isSync) => {
      return isSync ? file.readSync(into) ?? 0 : file.read(into).then((read) => read ?? 0);
    },
    truncate: (length, isSync) => isSync ? file.truncateSync(length) : file.truncate(length),
    sync(isSync) {
      if (!isSync) return file.sync().catch(acceptNoFullSync);
      try {
        file.syncSync();
      } catch (error) {
        acceptNoFullSync(error);
      }
    },
    close: () => file.close(),
    stat: () => info(path, file.statSync()),
    chown: (path, uid, gid) => change(path, file, (fd) => nodeFs.fchownSync(fd, uid, gid)),
    chmod: (path, mode) => change(path, file, (fd) => nodeFs.fchmodSync(fd, mode)),
  };
}

/**
 * `Deno.FsFile` has neither chown nor chmod, and the functions that take a path would follow a link
 * that has replaced the file. Therefore, this function reopens the path without following links and
 * checks that it still refers to the same file.
 */
function change(path: string, file: Deno.FsFile, by: (descriptor: number) => void): void {
  const { O_RDONLY, O_WRONLY, O_NOFOLLOW, O_NONBLOCK } = nodeFs.constants;
  const open = (access: number) => nodeFs.openSync(path, access | O_NOFOLLOW | O_NONBLOCK);
  let descriptor: number;
  try {
    descriptor = open(O_RDONLY);
  } catch (error) {
    // The file's mode may deny read access even to its owner.
    if ((error as { code?: string }).code !== "EACCES") throw error;
    descriptor = open(O_WRONLY);
  }
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
    tryLock(exclusive) {
      try {
        return file.tryLockSync(exclusive);
      } catch (error) {
        // Deno maps the Windows error "Incorrect function" to EISDIR, which is misleading for a
        // lock.
        if (isWindows && codeOf(error as Error) === "EISDIR") {
          Object.assign(error as Error, { code: "ENOTSUP" });
        }
        throw error;
      }
    },
    lock: (exclusive) => file.lock(exclusive),
    unlock: () => file.unlockSync(),
    close: () => file.close(),
  };
}

function acceptNoFullSync(error: unknown): void {
  if (!isNoFullSync(codeOf(error as Error), process.platform)) throw error;
}

/**
 * Whether a failed sync can be ignored. On macOS, Deno syncs with F_FULLFSYNC and has no fallback,
 * so writes would fail on file systems that do not support it, such as SMB.
 */
export function isNoFullSync(code = "", platform: string): boolean {
  return platform === "darwin" && ["EINVAL", "ENOTSUP", "ENOTTY", "EOPNOTSUPP"].includes(code);
}

/**
 * Whether /proc can be read. Deno requires all permissions to read it and would prompt for them.
 */
function mayReadProc(): boolean {
  const names = ["read", "write", "run", "env", "net", "sys", "ffi"] as const;
  return names.every((name) => Deno.permissions.querySync({ name }).state === "granted");
}

function errorClass(code: ErrorCode): new (message: string) => Error {
  const classes: Partial<Record<ErrorCode, new (message: string) => Error>> = {
    EBUSY: Deno.errors.Busy,
    EEXIST: Deno.errors.AlreadyExists,
    EISDIR: Deno.errors.IsADirectory,
    ELOOP: Deno.errors.FilesystemLoop,
    ENOTDIR: Deno.errors.NotADirectory,
    ENOTSUP: Deno.errors.NotSupported,
  };
  return classes[code] ?? Error;
}
