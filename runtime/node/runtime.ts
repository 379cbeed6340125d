import * as fs from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { errorName } from "../shared/errno.ts";
import { holdersOf } from "../shared/lock_holders.ts";
import { loadedWindowsCalls } from "../native/mod.ts";
import { creation, existing, isRestricted, openFile, openFileSync, settled } from "./file.ts";
import { openLock } from "./lock.ts";
import { nameOf, nativePath } from "./names.ts";
import { infoAt, isWindows } from "./stat.ts";
import { sleepSync } from "../shared/sleep.ts";
import type { Runtime } from "../types.ts";
import { notSupported } from "../shared/error_codes.ts";
import { isRefusal } from "../shared/windows_refusal.ts";
import { posixRename } from "../native/rename_windows.ts";

const lookups: Pick<Runtime["sync"], "lstat" | "stat" | "readLink"> = {
  lstat: (path) => infoAt(path, fs.lstatSync),
  stat: (path) => infoAt(path, fs.statSync),
  readLink: (path) => fs.readlinkSync(path),
};

/** The platform as Node and Bun have it. */
export const nodeRuntime: Runtime = {
  async: {
    ...lookups,
    readDir: async (path) => (await fs.promises.readdir(path, "buffer")).map(nameOf),
    readFile: async (path) => plain(await fs.promises.readFile(path)),
    create: (path, mode) => openFile(path, creation(), writable(mode)),
    openExisting: (path, access) => openFile(path, existing(access)),
    rename: (from, to) => {
      const renamed = settled((done) => fs.rename(from, to, done));
      return isWindows() ? renamed.catch((error) => renameAnyway(from, to, error)) : renamed;
    },
    link: (from, to) => {
      const linked = settled((done) => fs.link(from, to, done));
      return isWindows() ? linked.catch(noLinks) : linked;
    },
    remove: (path) => settled((done) => fs.unlink(nativePath(path), done)),
    ensureDir: async (path) => {
      const outermost = outermostMissing(path);
      if (outermost !== undefined) await fs.promises.mkdir(outermost).catch(acceptExisting);
      await fs.promises.mkdir(path, { recursive: true });
    },
    syncDir: async (path) => {
      // `node --permission` forbids fsync, but up to Node 24 not that of a FileHandle.
      const directory = isRestricted()
        ? await fs.promises.open(path, "r")
        : await openFile(path, "r");
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    },
  },
  sync: {
    ...lookups,
    readDir: (path) => fs.readdirSync(path, "buffer").map(nameOf),
    readFile: (path) => plain(fs.readFileSync(path)),
    create: (path, mode) => openFileSync(path, creation(), writable(mode)),
    openExisting: (path, access) => openFileSync(path, existing(access)),
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
    remove: (path) => fs.unlinkSync(nativePath(path)),
    ensureDir: (path) => {
      const outermost = outermostMissing(path);
      try {
        if (outermost !== undefined) fs.mkdirSync(outermost);
      } catch (error) {
        acceptExisting(error);
      }
      fs.mkdirSync(path, { recursive: true });
    },
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

/**
 * The outermost directory of a path that is missing: to be made by itself, since Node's `recursive`
 * goes round for ever where mkdir(2) says ENOENT although the parent is there, as in /proc.
 */
function outermostMissing(path: string): string | undefined {
  let outermost: string | undefined;
  for (let at = path; !fs.existsSync(at) && at !== outermost; at = dirname(at)) outermost = at;
  return outermost;
}

/** Another program may have made the directory meanwhile. */
function acceptExisting(error: unknown): void {
  if (codeOf(error as NodeJS.ErrnoException) !== "EEXIST") throw error;
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

/** The bytes without what a Buffer adds: its `slice` and `toString` are not a Uint8Array's. */
function plain(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
