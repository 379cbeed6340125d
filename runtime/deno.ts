import { ensureDirSync } from "@std/fs/ensure-dir";
import * as nodeFs from "node:fs";
import { errorName } from "./errno.ts";
import { sleep, sleepSync } from "./sleep.ts";
import type { ErrorCode, FileInfo, LockFile, OpenFile, Runtime } from "./types.ts";

/** The platform as Deno has it. */
export const denoRuntime: Runtime = {
  async: {
    lstat: async (path) => info(await Deno.lstat(path)),
    readLink: (path) => Deno.readLink(path),
    readDir: async (path) => {
      const names: string[] = [];
      for await (const { name } of Deno.readDir(path)) names.push(name);
      return names;
    },
    readFile: (path) => Deno.readFile(path),
    create: async (path, mode) => {
      const file = await Deno.open(path, creation(mode));
      return openFile(path, file, {
        write: (bytes) => file.write(bytes),
        sync: () => file.sync(),
      });
    },
    writeNew: (path, bytes, mode) => Deno.writeFile(path, bytes, creation(mode)),
    rename: (from, to) => Deno.rename(from, to),
    link: (from, to) => Deno.link(from, to),
    remove: (path) => Deno.remove(path),
    syncDir: async (path) => {
      using directory = await Deno.open(path);
      await directory.sync();
    },
    sleep,
  },
  sync: {
    lstat: (path) => info(Deno.lstatSync(path)),
    readLink: (path) => Deno.readLinkSync(path),
    readDir: (path) => Array.from(Deno.readDirSync(path), ({ name }) => name),
    readFile: (path) => Deno.readFileSync(path),
    create: (path, mode) => {
      const file = Deno.openSync(path, creation(mode));
      return openFile(path, file, {
        write: (bytes) => file.writeSync(bytes),
        sync: () => file.syncSync(),
      });
    },
    writeNew: (path, bytes, mode) => Deno.writeFileSync(path, bytes, creation(mode)),
    rename: (from, to) => Deno.renameSync(from, to),
    link: (from, to) => Deno.linkSync(from, to),
    remove: (path) => Deno.removeSync(path),
    syncDir: (path) => {
      using directory = Deno.openSync(path);
      directory.syncSync();
    },
    sleep: sleepSync,
  },
  get windows() {
    return Deno.build.os === "windows";
  },
  // Until Deno 2.9.6 each wait holds one of the 32 threads that all file calls
  // share; with all of them waiting, the holder of the lock could not go on
  // (https://github.com/denoland/deno/issues/22504).
  kernelWaits: 4,
  cwd: () => Deno.cwd(),
  ensureDir: ensureDirSync,
  openLock: (path, access) => {
    return lockFile(Deno.openSync(path, { read: true, write: access === "read-write" }));
  },
  codeOf,
  error: (code, message) => Object.assign(new (errorClass(code))(message), { code }),
};

function creation(mode: number | undefined) {
  const options = { write: true, createNew: true };
  return mode === undefined ? options : { ...options, mode };
}

function info(of: Deno.FileInfo): FileInfo {
  return {
    kind: of.isFile ? "file" : of.isDirectory ? "directory" : of.isSymlink ? "symlink" : "other",
    id: of.ino === null ? "" : `${of.dev}:${of.ino}`,
    mode: (of.mode ?? 0) & 0o7777,
    uid: of.uid ?? 0,
    gid: of.gid ?? 0,
    mtime: of.mtime?.getTime() ?? 0,
  };
}

function openFile(
  path: string,
  file: Deno.FsFile,
  calls: Pick<OpenFile, "write" | "sync">,
): OpenFile {
  return {
    ...calls,
    close: () => file.close(),
    stat: () => info(file.statSync()),
    chown: (uid, gid) => change(path, file, (fd) => nodeFs.fchownSync(fd, uid, gid)),
    chmod: (mode) => change(path, file, (fd) => nodeFs.fchmodSync(fd, mode)),
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

function lockFile(file: Deno.FsFile): LockFile {
  return {
    id: info(file.statSync()).id,
    tryLock: (exclusive) => file.tryLockSync(exclusive),
    lock: (exclusive) => file.lock(exclusive),
    unlock: () => file.unlockSync(),
    close: () => file.close(),
  };
}

/** Deno gives no code for EINTR, ENFILE, ENOLCK, ENOSYS, EDQUOT, EFBIG and others. */
function codeOf(error: Error & { code?: unknown }): string | undefined {
  if (typeof error.code === "string") return error.code;
  const [, number] = /\(os error (\d+)\)/.exec(error.message) ?? [];
  // The numbers of Windows are not those of errno(3).
  if (number === undefined || Deno.build.os === "windows") return undefined;
  return errorName(Number(number));
}

function errorClass(code: ErrorCode): new (message: string) => Error {
  switch (code) {
    case "EEXIST":
      return Deno.errors.AlreadyExists;
    case "EISDIR":
      return Deno.errors.IsADirectory;
    case "ELOOP":
      return Deno.errors.FilesystemLoop;
    case "ENOTSUP":
      return Deno.errors.NotSupported;
    default:
      return Error;
  }
}
