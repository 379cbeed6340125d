/** A value or a promise for it, depending on the {@linkcode FileSystem}. */
export type Awaitable<T> = T | Promise<T>;

/** The result of `lstat(2)`, `stat(2)` or `fstat(2)`. */
export interface FileInfo {
  readonly kind: "file" | "directory" | "symlink" | "other";
  /** The volume and inode numbers; empty if the file system has none. */
  readonly id: string;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** In bytes. */
  readonly size: number;
  /** When the content last changed, in milliseconds since the epoch; whole milliseconds on Deno. */
  readonly mtime: number;
}

/** An entry of a directory. A link to a directory does not count as a directory. */
export interface DirEntry {
  readonly name: string;
  readonly isDirectory: boolean;
}

/** An open file. If `isSync` is true, a method blocks the thread and does not return a promise. */
export interface OpenFile {
  /** One `write(2)`: the number of bytes written, possibly fewer than given. */
  write(bytes: Uint8Array, isSync: boolean): Awaitable<number>;
  /** One `read(2)`: the number of bytes read, 0 at the end. */
  read(into: Uint8Array, isSync: boolean): Awaitable<number>;
  truncate(length: number, isSync: boolean): Awaitable<void>;
  sync(isSync: boolean): Awaitable<void>;
  close(isSync: boolean): Awaitable<void>;
  /** `fstat(2)` of the descriptor. */
  stat(): FileInfo;
  /**
   * Changes the owner of this file, never that of another file that has replaced it. `path` is where
   * the file is now.
   */
  chown(path: string, uid: number, gid: number): void;
  /** Sets the permission bits, like {@linkcode OpenFile.chown}. */
  chmod(path: string, mode: number): void;
}

/**
 * The file calls that `internal/` uses. The asynchronous and synchronous forms have the same shape,
 * so each operation is written only once.
 *
 * `lstat`, `stat` and `readLink` are synchronous in both forms: the kernel answers them from
 * memory, and a thread hop costs ten times as much as the call (ARCHITECTURE.md, "Measured").
 */
export interface FileSystem {
  /** Undefined if the path does not exist. */
  lstat(path: string): FileInfo | undefined;
  /** Like {@linkcode FileSystem.lstat}, but lets the kernel follow symbolic links. */
  stat(path: string): FileInfo | undefined;
  readLink(path: string): string;
  readDir(path: string): Awaitable<DirEntry[]>;
  readFile(path: string): Awaitable<Uint8Array>;
  /** `open(2)` with `O_CREAT | O_EXCL | O_WRONLY`; `mode` is subject to the umask. */
  create(path: string, mode: number | undefined): Awaitable<OpenFile>;
  /**
   * Opens an existing file, but refuses a symbolic link where the platform can. Files opened for
   * reading can also be synced.
   */
  openExisting(path: string, access: "read" | "write"): Awaitable<OpenFile>;
  rename(from: string, to: string): Awaitable<void>;
  link(from: string, to: string): Awaitable<void>;
  remove(path: string): Awaitable<void>;
  /** `mkdir(2)`: the parent must exist. */
  mkdir(path: string): Awaitable<void>;
  /** Opens a directory to sync it. */
  openDir(path: string): Awaitable<Pick<OpenFile, "sync" | "close">>;
}

/** The same interface, but its methods return values instead of promises. */
type Sync<T> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Awaited<R>
    : never;
};

/** A {@linkcode FileSystem} whose calls block the thread. */
export type SyncFileSystem = Sync<FileSystem>;

/** An open lock file and the kernel's lock on it: `flock(2)`, or `LockFileEx` on Windows. */
export interface LockFile {
  /** Like {@linkcode FileInfo.id}. */
  readonly id: string;
  /**
   * Takes the lock if it is free. Do not call this while holding the lock: Windows would report
   * that the lock is taken.
   */
  tryLock(exclusive: boolean): boolean;
  /**
   * Waits for the lock in the kernel, on another thread. Only available where `kernelWaits` is not
   * 0.
   */
  lock?(exclusive: boolean): Promise<void>;
  unlock(): void;
  close(): void;
  /** Whether the file was closed because its thread exited. */
  closed?: boolean;
}

/** Derived from the class, because without the DOM's types, only the class is global. */
type WritableStreamArgs = ConstructorParameters<typeof WritableStream<Uint8Array>>;

/** Everything the library needs from the platform. */
export interface Runtime {
  readonly async: FileSystem;
  readonly sync: SyncFileSystem;
  readonly windows: boolean;
  /** Whether names that differ only in case or normalization can refer to the same file. */
  readonly foldsNames: boolean;
  /** How many calls to {@linkcode LockFile.lock} can wait without stalling other file calls. */
  readonly kernelWaits: number;
  cwd(): string;
  /** The canonical path of an existing file. */
  realPath(path: string): string;
  /** Like `crypto.randomUUID()`, even if that global is missing or replaced. */
  randomUUID(): string;
  /** Creates a stream, even if the global class is missing or replaced. */
  writableStream(...args: WritableStreamArgs): WritableStream<Uint8Array>;
  /** Blocks this thread. */
  sleep(milliseconds: number): void;
  /** Whether {@linkcode Runtime.openLock} refuses symbolic links and never waits for a FIFO. */
  readonly refusesLinkedLocks: boolean;
  /** Opens an existing lock file. */
  openLock(path: string, access: "read-write" | "read"): LockFile;
  /**
   * Makes a network file system's client ask its server which files the names in a directory refer
   * to. Does nothing on a local disk, which it recognizes by the id of a file in the directory.
   */
  refreshDir(dir: string, fileId: string): void;
  /**
   * Whether a name that was missing from a directory has reappeared or may do so shortly. Before an
   * NFS client renames a file over one that is open on the same machine, it renames the open file
   * to `.nfs…`.
   */
  mayReappear(dir: string, name: string): boolean;
  /**
   * The ids of the live processes that hold a file's lock; null if the system does not report them.
   */
  lockHolders(path: string): number[] | null;
  /** The code of a failed system call, such as `"ENOENT"`; undefined for other errors. */
  codeOf(error: object): string | undefined;
  /** Creates an error of the class that the platform uses for `code`. */
  error(code: ErrorCode, message: string, path: string): Error;
  /** Calls `listener` when the program exits, unless it is killed. */
  onExit(listener: () => void): void;
  /** Prints a warning for the program's developer. */
  warn(message: string): void;
}

/** Codes of the errors that the library itself throws. */
export type ErrorCode =
  | "EBUSY"
  | "EEXIST"
  | "EIO"
  | "EISDIR"
  | "ELOOP"
  | "ENOTDIR"
  | "ENOTSUP"
  | "ESTALE";
