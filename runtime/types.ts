/** A value, or the promise of it: which one is up to the {@linkcode FileSystem}. */
export type Awaitable<T> = T | Promise<T>;

/** What `lstat(2)` or `fstat(2)` says of a file. */
export interface FileInfo {
  readonly kind: "file" | "directory" | "symlink" | "other";
  /** Device and inode; empty where the platform tells none. */
  readonly id: string;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Time of the last change of content, in milliseconds since the epoch. */
  readonly mtime: number;
}

/** A file opened for writing by {@linkcode FileSystem.create}. */
export interface OpenFile {
  /** One `write(2)`: the number of bytes written, which may be fewer than asked for. */
  write(bytes: Uint8Array): Awaitable<number>;
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
 */
export interface FileSystem {
  lstat(path: string): Awaitable<FileInfo>;
  readLink(path: string): Awaitable<string>;
  readDir(path: string): Awaitable<string[]>;
  readFile(path: string): Awaitable<Uint8Array>;
  /** `open(2)` with `O_CREAT | O_EXCL | O_WRONLY`; `mode` is subject to the umask. */
  create(path: string, mode: number | undefined): Awaitable<OpenFile>;
  /** Creates a file as {@linkcode create} does, with exactly `mode` when given, writes all bytes and closes it. */
  writeNew(path: string, bytes: Uint8Array, mode: number | undefined): Awaitable<void>;
  rename(from: string, to: string): Awaitable<void>;
  link(from: string, to: string): Awaitable<void>;
  remove(path: string): Awaitable<void>;
  syncDir(path: string): Awaitable<void>;
  sleep(milliseconds: number): Awaitable<void>;
}

/** {@linkcode FileSystem} whose calls return values, not promises. */
export type SyncFileSystem = {
  [K in keyof FileSystem]: (
    ...args: Parameters<FileSystem[K]>
  ) => Awaited<ReturnType<FileSystem[K]>>;
};

/** An open lock file, with the kernel's lock on it: `flock(2)`, on Windows `LockFileEx`. */
export interface LockFile {
  /** As {@linkcode FileInfo.id}. */
  readonly id: string;
  /** Takes the lock if it is free now. */
  tryLock(exclusive: boolean): boolean;
  /** Waits for the lock in the kernel, on a thread of its own. */
  lock(exclusive: boolean): Promise<void>;
  unlock(): void;
  close(): void;
}

/** All that the library asks of the platform. */
export interface Runtime {
  readonly async: FileSystem;
  readonly sync: SyncFileSystem;
  readonly windows: boolean;
  /** How many {@linkcode LockFile.lock} may wait at once without harm to other file calls. */
  readonly kernelWaits: number;
  cwd(): string;
  /** Creates a directory and its parents where they are missing. */
  ensureDir(path: string): void;
  /** Opens an existing lock file, for writing too or for reading only. */
  openLock(path: string, access: "read-write" | "read"): LockFile;
  /** The code of a failed system call, such as `"ENOENT"`; undefined for another error. */
  codeOf(error: Error): string | undefined;
  /** An error of the platform's own class for `code`. */
  error(code: ErrorCode, message: string, path: string): Error;
}

/** Codes of the errors that policy raises itself. */
export type ErrorCode =
  | "EEXIST"
  | "EIO"
  | "EISDIR"
  | "ELOOP"
  | "ENOTSUP"
  | "ESTALE";
