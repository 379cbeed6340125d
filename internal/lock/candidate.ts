import { runtime } from "../../runtime/mod.ts";
import type { LockFile } from "../../runtime/types.ts";
import { codeOf, failedWith } from "../base/errors.ts";
import { opened } from "../base/opened.ts";
import type { Steps } from "../base/steps.ts";
import { identity, lockFailure, lockFileId, pathStillIs, tryLock } from "./file.ts";
import { type Hold, hold, isIdle } from "./queue.ts";
import type { LockRequest } from "./request.ts";

/** Error codes when another user's lock file cannot be opened for writing. */
const NOT_WRITABLE = new Set(["EACCES", "EPERM", "EROFS"]);

/** A call's lock file, from inspection until the call locks it or abandons the attempt. */
export class LockCandidate {
  /** The lock file's identity, which is also the key of this thread's queue for it. */
  readonly id: string;
  readonly #request: LockRequest;
  #file: LockFile | undefined;

  private constructor(request: LockRequest, id: string, file: LockFile | undefined) {
    this.#request = request;
    this.id = id;
    this.#file = file;
  }

  /**
   * Finds the lock file, creating it if necessary.
   *
   * @param open Whether the file may be opened without inspecting it first. This is done only if
   * this thread neither holds a lock nor waits for one. Otherwise, the call may have to wait in the
   * queue, where it must not keep a descriptor open. Either way, the path is checked once the lock
   * is taken.
   */
  static *find(request: LockRequest, open: boolean): Steps<LockCandidate> {
    const { path } = request;
    if (open && runtime.refusesLinkedLocks && isIdle()) {
      try {
        const file = runtime.openLock(path, "read-write");
        return new LockCandidate(request, identity(path, file), file);
      } catch {
        // The inspection below reports why opening failed.
      }
    }
    return new LockCandidate(request, yield* lockFileId(request), undefined);
  }

  /** Takes the lock if it is free. */
  *tryTake(): Steps<Hold | "busy" | "replaced"> {
    const state = this.#file === undefined ? yield* this.#open() : "opened";
    if (state !== "opened") return state;
    const { path, shared } = this.#request;
    return tryLock(path, this.#file!, shared) ? this.#take() : "busy";
  }

  /** Whether {@linkcode LockCandidate.wait} can be called. */
  get canWait(): boolean {
    return this.#file !== undefined;
  }

  /** Waits for the lock in the kernel and takes it. The wait cannot be canceled. */
  async wait(): Promise<Hold | "busy" | "replaced"> {
    const { path, shared } = this.#request;
    try {
      await this.#file!.lock!(!shared);
    } catch (error) {
      // The kernel does not restart flock(2) after every signal, and neither does Rust.
      if (codeOf(error) === "EINTR") return "busy";
      throw lockFailure(error, path);
    }
    // The lock is now held. Do not call tryTake(): on Windows, locking the file again would fail.
    return this.#take();
  }

  /** Closes the lock file unless the lock was taken. */
  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  *#open(): Steps<"opened" | "busy" | "replaced"> {
    const { path } = this.#request;
    // First try to open the file for writing, because flock(2) requires write access on NFS.
    // Elsewhere, read access is enough.
    for (const access of ["read-write", "read"] as const) {
      try {
        this.#file = yield* opened(this.#request, () => runtime.openLock(path, access));
        break;
      } catch (error) {
        const code = codeOf(error);
        if (code === "ENOENT") return "replaced";
        if (code === "EBUSY") return "busy"; // On Windows, a scanner has the file open.
        if (access === "read" || !failedWith(error, NOT_WRITABLE)) throw lockFailure(error, path);
      }
    }
    return identity(path, this.#file!) === this.id ? "opened" : "replaced";
  }

  /**
   * Keeps the lock only if the path still refers to the locked file. If that file was replaced,
   * other programs lock the new one instead.
   */
  #take(): Hold | "replaced" {
    runtime.refreshDir(this.#request.dir, this.id);
    if (!pathStillIs(this.#request.path, this.id)) return "replaced";
    const file = this.#file!;
    this.#file = undefined;
    return hold(this.#request, this.id, file);
  }
}
