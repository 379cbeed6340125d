import * as fs from "node:fs";
import process from "node:process";
import { promisify } from "node:util";
import { errorName } from "./errno.ts";
import { fileId, openLock } from "./node_lock.ts";
import { sleep, sleepSync } from "./sleep.ts";
import type { FileInfo, OpenFile, Runtime } from "./types.ts";

const open = promisify(fs.open);
const close = promisify(fs.close);
const write = promisify(fs.write);
const writeFile = promisify(fs.writeFile);
const fsync = promisify(fs.fsync);

/** The platform as Node and Bun have it. */
export const nodeRuntime: Runtime = {
  async: {
    lstat: async (path) => info(await fs.promises.lstat(path, { bigint: true })),
    readLink: (path) => fs.promises.readlink(path),
    readDir: (path) => fs.promises.readdir(path),
    readFile: async (path) => plain(await fs.promises.readFile(path)),
    create: async (path, mode) => {
      const descriptor = await open(path, "wx", mode);
      return openFile(descriptor, {
        write: async (bytes) => (await write(descriptor, bytes)).bytesWritten,
        sync: () => fsync(descriptor),
        close: () => close(descriptor),
      });
    },
    writeNew: async (path, bytes, mode) => {
      const descriptor = await open(path, "wx", mode);
      try {
        if (mode !== undefined) fs.fchmodSync(descriptor, mode);
        await writeFile(descriptor, bytes);
      } catch (error) {
        fs.closeSync(descriptor);
        throw error;
      }
      await close(descriptor);
    },
    rename: (from, to) => fs.promises.rename(from, to),
    link: (from, to) => fs.promises.link(from, to),
    remove: (path) => fs.promises.unlink(path),
    syncDir: async (path) => {
      const descriptor = await open(path, "r");
      try {
        await fsync(descriptor);
      } finally {
        fs.closeSync(descriptor);
      }
    },
    sleep,
  },
  sync: {
    lstat: (path) => info(fs.lstatSync(path, { bigint: true })),
    readLink: (path) => fs.readlinkSync(path),
    readDir: (path) => fs.readdirSync(path),
    readFile: (path) => plain(fs.readFileSync(path)),
    create: (path, mode) => {
      const descriptor = fs.openSync(path, "wx", mode);
      return openFile(descriptor, {
        write: (bytes) => fs.writeSync(descriptor, bytes),
        sync: () => fs.fsyncSync(descriptor),
        close: () => fs.closeSync(descriptor),
      });
    },
    writeNew: (path, bytes, mode) => {
      const descriptor = fs.openSync(path, "wx", mode);
      try {
        if (mode !== undefined) fs.fchmodSync(descriptor, mode);
        fs.writeFileSync(descriptor, bytes);
      } finally {
        fs.closeSync(descriptor);
      }
    },
    rename: (from, to) => fs.renameSync(from, to),
    link: (from, to) => fs.linkSync(from, to),
    remove: (path) => fs.unlinkSync(path),
    syncDir: (path) => {
      const descriptor = fs.openSync(path, "r");
      try {
        fs.fsyncSync(descriptor);
      } finally {
        fs.closeSync(descriptor);
      }
    },
    sleep: sleepSync,
  },
  get windows() {
    return process.platform === "win32";
  },
  // A wait in libuv's pool of four threads would stop every file call of the
  // process, that of the lock's holder too (https://github.com/nodejs/node/issues/122).
  kernelWaits: 0,
  cwd: () => process.cwd(),
  ensureDir: (path) => void fs.mkdirSync(path, { recursive: true }),
  openLock,
  codeOf,
  error: (code, message, path) => Object.assign(new Error(message), { code, path }),
};

/** Some codes libuv does not know, EDQUOT among them: "Unknown system error -122". */
function codeOf({ code, errno }: NodeJS.ErrnoException): string | undefined {
  return code?.startsWith("Unknown system error") ? errorName(-errno!) ?? code : code;
}

function info(of: fs.BigIntStats): FileInfo {
  return {
    kind: of.isFile()
      ? "file"
      : of.isDirectory()
      ? "directory"
      : of.isSymbolicLink()
      ? "symlink"
      : "other",
    id: fileId(of),
    mode: Number(of.mode) & 0o7777,
    uid: Number(of.uid),
    gid: Number(of.gid),
    mtime: Number(of.mtimeMs),
  };
}

/** The bytes without what a Buffer adds: its `slice` and `toString` are not a Uint8Array's. */
function plain(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function openFile(
  descriptor: number,
  calls: Pick<OpenFile, "write" | "sync" | "close">,
): OpenFile {
  return {
    ...calls,
    stat: () => info(fs.fstatSync(descriptor, { bigint: true })),
    chown: (uid, gid) => fs.fchownSync(descriptor, uid, gid),
    chmod: (mode) => fs.fchmodSync(descriptor, mode),
  };
}
