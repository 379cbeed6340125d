import { Buffer } from "node:buffer";
import { basename } from "@std/path/basename";
import { dirname } from "@std/path/dirname";
import { runtime } from "../../runtime/mod.ts";
import type { FileInfo } from "../../runtime/types.ts";
import { codeOf, withContext } from "../base/errors.ts";
import { opened, type Opener } from "../base/opened.ts";
import { pathKey } from "../base/paths.ts";
import { call, pause, type Steps } from "../base/steps.ts";
import { inTurn, queueKey } from "./path_queue.ts";

/**
 * A file modified more recently than this may change again without its modification time changing:
 * file times advance only with the kernel's clock tick, and Deno reports whole milliseconds.
 */
const MTIME_GRANULARITY_MS = 20;

/** The maximum number of attempts to read a file that NFS shows in the middle of a replacement. */
const MAX_NFS_TRIES = 10;
/** The pauses add up to more than 166 ms, the longest time that a name was missing in tests. */
const NFS_PAUSE_MS = 20;

/** The file to read, and the path whose earlier calls must finish first. */
interface ReadRequest {
  readonly path: string;
  readonly calledAs?: string;
  readonly signal?: AbortSignal | undefined;
}

/** A file as it was read. */
export interface FileVersion {
  /** The content; null if there was no file. */
  readonly bytes: Uint8Array | null;
  /** The file's identity, size and modification time just before it was read. */
  readonly info?: FileInfo;
  /** A private copy of the content, if the modification time was too recent to rely on. */
  readonly copy?: Uint8Array | undefined;
}

/** Reads a file after the earlier calls for its path have completed. */
export function readInTurn(request: ReadRequest): Steps<FileVersion> {
  return inTurn(queueKey(request), { steps: () => read(request), signal: request.signal });
}

/** Waits for the earlier calls for a path. */
export function waitForTurn(path: string, signal: AbortSignal | undefined): Steps<void> {
  return inTurn(pathKey(path), { *steps() {}, signal });
}

/** Whether the file at a path is still the version that was read. */
export function isCurrent({ info, copy }: FileVersion, path: string): boolean {
  try {
    const now = runtime.sync.stat(path);
    if (now === undefined || info === undefined) return now === info;
    return now.id === info.id && now.size === info.size && now.mtime === info.mtime &&
      (copy === undefined || Buffer.compare(copy, runtime.sync.readFile(path)) === 0);
  } catch {
    return false; // The next read will report the problem.
  }
}

/** Reads a file, retrying if NFS shows it in the middle of a replacement. */
function* read({ path, signal }: ReadRequest): Steps<FileVersion> {
  const opener = { signal, descriptors: { waitedMs: 0 } };
  for (let tries = 1;; tries++) {
    let version: FileVersion;
    try {
      version = yield* readOnce(path, opener);
    } catch (error) {
      // Another machine replaced the file after it was opened.
      if (codeOf(error) === "ESTALE" && tries < MAX_NFS_TRIES) continue;
      throw withContext(error, `Cannot read '${path}'`);
    }
    if (version.info !== undefined || tries === MAX_NFS_TRIES) return version;
    if (!runtime.mayReappear(dirname(path), basename(path))) return version;
    yield* pause(NFS_PAUSE_MS, signal);
  }
}

/**
 * Reads a regular file. Rejects other kinds of file: reading a FIFO would block until something
 * writes to it.
 */
function* readOnce(path: string, opener: Opener): Steps<FileVersion> {
  // Inspect the file before reading it, so that a change in between is detected.
  const info = yield* call((fs) => fs.stat(path));
  if (info === undefined) return { bytes: null };
  if (info.kind === "directory") throw runtime.error("EISDIR", "Is a directory", path);
  if (info.kind !== "file") throw runtime.error("ENOTSUP", "Is not a regular file", path);
  const isRecent = Math.abs(Date.now() - info.mtime) < MTIME_GRANULARITY_MS;
  try {
    const bytes = yield* opened(opener, (fs) => fs.readFile(path));
    return { bytes, info, copy: isRecent ? bytes.slice() : undefined };
  } catch (error) {
    if (codeOf(error) === "ENOENT") return { bytes: null };
    throw error;
  }
}
