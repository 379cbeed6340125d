import * as fs from "node:fs";
import process from "node:process";
import { builtin } from "../shared/builtin.ts";
import { mayReappear, refreshDir } from "../shared/directory_refresh.ts";
import { holdersOf } from "../shared/lock_holders.ts";
import { creation, existing, isRestricted, openFile, openFileSync, settled } from "./file.ts";
import { openLock } from "./lock.ts";
import { codeOf, infoAt } from "./stat.ts";
import { foldsNames, isWindows, sleepSync } from "../shared/platform.ts";
import type { DirEntry, Runtime } from "../types.ts";

const lookups: Pick<Runtime["sync"], "lstat" | "stat" | "readLink"> = {
  lstat: (path) => infoAt(path, fs.lstatSync),
  stat: (path) => infoAt(path, fs.statSync),
  readLink: (path) => fs.readlinkSync(path),
};

type Crypto = typeof import("node:crypto");
type Streams = { WritableStream: typeof WritableStream };

let crypto: Crypto | undefined;

/** The Node and Bun platform. */
export const nodeRuntime: Runtime = {
  async: {
    ...lookups,
    readDir: async (path) => {
      return (await fs.promises.readdir(path, { withFileTypes: true })).map(dirEntry);
    },
    readFile: async (path) => plain(await fs.promises.readFile(path)),
    create: (path, mode) => openFile(path, creation(), writable(mode)),
    openExisting: (path, access) => openFile(path, existing(access)),
    rename: (from, to) => settled((done) => fs.rename(from, to, done)),
    link: (from, to) => settled((done) => fs.link(from, to, done)),
    remove: (path) => settled((done) => fs.unlink(path, done)),
    mkdir: (path) => settled((done) => fs.mkdir(path, done)),
    // `node --permission` forbids fsync, but Node up to 24 allows it on a FileHandle.
    openDir: (path) => isRestricted() ? fs.promises.open(path, "r") : openFile(path, "r"),
  },
  sync: {
    ...lookups,
    readDir: (path) => fs.readdirSync(path, { withFileTypes: true }).map(dirEntry),
    readFile: (path) => plain(fs.readFileSync(path)),
    create: (path, mode) => openFileSync(path, creation(), writable(mode)),
    openExisting: (path, access) => openFileSync(path, existing(access)),
    rename: (from, to) => fs.renameSync(from, to),
    link: (from, to) => fs.linkSync(from, to),
    remove: (path) => fs.unlinkSync(path),
    mkdir: (path) => fs.mkdirSync(path),
    openDir: (path) => openFileSync(path, "r"),
  },
  windows: isWindows,
  foldsNames,
  // Waiting in libuv's pool of four threads would stall all of the process's file calls, including
  // the lock holder's (https://github.com/nodejs/node/issues/122).
  kernelWaits: 0,
  // Node and Bun cache process.cwd(), so it is wrong once another program has renamed the
  // directory.
  cwd: () => isWindows || isRestricted() ? process.cwd() : fs.realpathSync.native("."),
  realPath: (path) => fs.realpathSync.native(path),
  randomUUID: () => (crypto ??= builtin<Crypto>("node:crypto")).webcrypto.randomUUID(),
  writableStream: (...args) => {
    return new (builtin<Streams>("node:stream/web").WritableStream)(...args);
  },
  sleep: sleepSync,
  refusesLinkedLocks: !isWindows,
  openLock,
  refreshDir,
  mayReappear,
  lockHolders: holdersOf,
  codeOf,
  error: (code, message, path) => Object.assign(new Error(message), { code, path }),
  onExit: (listener) => void process.on("exit", listener),
  warn: (message) => process.emitWarning(message),
};

/** On Windows, a mode without the owner's write bit would make the file permanently read-only. */
function writable(mode: number | undefined): number | undefined {
  return isWindows ? undefined : mode;
}

function dirEntry(entry: fs.Dirent): DirEntry {
  return { name: entry.name, isDirectory: entry.isDirectory() };
}

/** The bytes as a plain Uint8Array: a Buffer's `slice` and `toString` behave differently. */
function plain(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
