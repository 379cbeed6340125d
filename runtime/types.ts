/** A value, or the promise of it: which one is up to the {@linkcode FileSystem}. */
export type Awaitable<T> = T | Promise<T>;

/** What `lstat(2)` or `fstat(2)` says of a file. */
export interface FileInfo {
  readonly kind: "file" | "directory" | "symlink" | "other";
  /** Volume and number of the file; empty where the file system tells none. */
  readonly id: string;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** In bytes. */
  readonly size: number;
  /** Time of the last change of content, in whole milliseconds since the epoch. */
  readonly mtime: number;
  /** The same with the fraction, as far as the runtime reports one: Deno does not. */
  readonly exactMtime: number;
}

/** An open file. */
export interface OpenFile {
  /** One `write(2)`: the number of bytes written, which may be fewer than asked for. */
  write(bytes: Uint8Array): Awaitable<number>;
  /** One `read(2)`: the number of bytes read, 0 at the end. */
  read(into: Uint8Array): Awaitable<number>;
  truncate(length: number): Awaitable<void>;
  sync(): Awaitable<void>;
  close(): Awaitable<void>;
  /** `fstat(2)` of the descriptor. */
  stat(): FileInfo;
  /** Gives the file, never what took its name, to another owner. */
  chown(uid: number, gid: number): void;
  /** Sets the permission bits of the file, never of what took its name. */
  chmod(mode: number): void;
}

/**
 * The file calls that policy is written against: one shape for the asynchronous
 * and the synchronous form, so that policy is written once.
 *
 * `lstat`, `stat` and `readLink` are synchronous in both: the kernel answers them from
 * memory, and a thread hop costs ten times as much as the call (ARCHITECTURE.md, "Measured").
 */
export interface FileSystem {
  /** Undefined if there is nothing. */
  lstat(path: string): FileInfo | undefined;
  /** As {@linkcode FileSystem.lstat}, symbolic links followed by the kernel. */
  stat(path: string): FileInfo | undefined;
  readLink(path: string): string;
  readDir(path: string): Awaitable<string[]>;
  readFile(path: string): Awaitable<Uint8Array>;
  /** `open(2)` with `O_CREAT | O_EXCL | O_WRONLY`; `mode` is subject to the umask. */
  create(path: string, mode: number | undefined): Awaitable<OpenFile>;
  /**
   * Opens a file that exists, which is not a symbolic link where the platform can refuse one. It
   * can be synced with either access.
   */
  openExisting(path: string, access: "read" | "write"): Awaitable<OpenFile>;
  /**
   * Creates a file as {@linkcode FileSystem.create} does, with exactly `mode` when given, writes
   * all bytes and closes it: for platforms that do so in one call.
   */
  writeNew?(path: string, bytes: Uint8Array, mode: number | undefined): Awaitable<void>;
  rename(from: string, to: string): Awaitable<void>;
  link(from: string, to: string): Awaitable<void>;
  remove(path: string): Awaitable<void>;
  /** Creates a directory and its parents where they are missing. */
  ensureDir(path: string): Awaitable<void>;
  syncDir(path: string): Awaitable<void>;
}

/** {@linkcode FileSystem} whose calls return values, not promises. */
export type SyncFileSystem = {
  [K in keyof FileSystem]: NonNullable<FileSystem[K]> extends (...args: infer A) => infer R
    ? (...args: A) => Awaited<R>
    : never;
};

/** An open lock file, with the kernel's lock on it: `flock(2)`, on Windows `LockFileEx`. */
export interface LockFile {
  /** As {@linkcode FileInfo.id}. */
  readonly id: string;
  /** Takes the lock if it is free now. Who holds it must not ask: Windows says that it is not free. */
  tryLock(exclusive: boolean): boolean;
  /** Waits for the lock in the kernel, on a thread of its own. */
  lock(exclusive: boolean): Promise<void>;
  unlock(): void;
  close(): void;
  /** Whether it was closed because its thread ends. */
  closed?: boolean;
}

/** All that the library asks of the platform. */
export interface Runtime {
  readonly async: FileSystem;
  readonly sync: SyncFileSystem;
  readonly windows: boolean;
  /** Whether names that differ only in case or normalisation may lead to one file. */
  readonly foldsNames: boolean;
  /** How many {@linkcode LockFile.lock} may wait at once without harm to other file calls. */
  readonly kernelWaits: number;
  cwd(): string;
  /** The one path of a file that exists, links followed. */
  realPath(path: string): string;
  /** The working directory of another drive of Windows (`"C:"`) than the current one, if told. */
  cwdOf(drive: string): string | undefined;
  /** Blocks this thread. */
  sleep(milliseconds: number): void;
  /** Opens an existing lock file, for writing too or for reading only. */
  openLock(path: string, access: "read-write" | "read"): LockFile;
  /** The ids of the live processes that hold the lock of a file; null if the system does not tell. */
  lockHolders(path: string): number[] | null;
  /** The code of a failed system call, such as `"ENOENT"`; undefined for another error. */
  codeOf(error: object): string | undefined;
  /** An error of the platform's own class for `code`. */
  error(code: ErrorCode, message: string, path: string): Error;
  /** Calls `listener` when the program ends, but for a kill. */
  onExit(listener: () => void): void;
  /** Warns the program's developer. */
  warn(message: string): void;
  /** Lets the program end while the timer runs. */
  unref(timer: unknown): void;
}

/** Codes of the errors that policy raises itself. */
export type ErrorCode =
  | "EBUSY"
  | "EEXIST"
  | "EIO"
  | "EISDIR"
  | "ELOOP"
  | "ENOTDIR"
  | "ENOTSUP"
  | "ESTALE";
