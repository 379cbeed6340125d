import { runtime } from "../../runtime/mod.ts";
import type { LockFile } from "../../runtime/types.ts";
import { codeOf, failedWith } from "../base/errors.ts";
import { opened } from "../base/opened.ts";
import type { Steps } from "../base/steps.ts";
import { identity, lockFailure, lockFileId, pathStillIs, tryLock } from "./file.ts";
import { type Hold, hold, isIdle } from "./queue.ts";
import type { LockRequest } from "./request.ts";

/** Error codes that mean that another user's lock file cannot be opened for writing. */
const NOT_WRITABLE = new Set(["EACCES", "EPERM", "EROFS"]);

/**
 * A call's lock file, from its inspection until the call has locked it or abandoned the attempt.
 */
export class LockCandidate {
  /** The identity of the lock file, which is the key to this thread's queue. */
  readonly id: string;
  readonly #request: LockRequest;
  #file: LockFile | undefined;

  private constructor(request: LockRequest, id: string, file: LockFile | undefined) {
    this.#request = request;
    this.id = id;
    this.#file = file;
  }

  /**
   * Finds the lock file, and creates it if it is missing.
   *
   * @param open Whether the file may be opened without being inspected first. This is done only if
   * this thread neither holds a lock nor waits for one. Otherwise, the call may have to wait in the
   * queue, and must not keep a descriptor open there. Once the lock is taken, the path is checked
   * in any case.
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
    // The lock is already taken. Do not try to take it again: on Windows, that would fail.
    return this.#take();
  }

  /** Closes the lock file, unless the lock was taken. */
  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  *#open(): Steps<"opened" | "busy" | "replaced"> {
    const { path } = this.#request;
    // Try to open it for writing first, which flock(2) requires on NFS. Elsewhere, read access is
    // enough.
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
   * Keeps the lock only if the path still leads to the locked file. If another file has replaced
   * it, other programs lock that file instead.
   */
  #take(): Hold | "replaced" {
    runtime.refreshDir(this.#request.dir, this.id);
    if (!pathStillIs(this.#request.path, this.id)) return "replaced";
    const file = this.#file!;
    this.#file = undefined;
    return hold(this.#request, this.id, file);
  }
}
