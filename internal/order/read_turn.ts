import { runtime } from "../../runtime/mod.ts";
import { codeOf, withContext } from "../base/errors.ts";
import { pathKey } from "../base/paths.ts";
import { call, run, runSync, type Steps } from "../base/steps.ts";
import { queueKey, type TakeOver, takeTurn, takeTurnSync, type Turn } from "./path_queue.ts";

/** What is to be read, and in whose turn. */
interface ReadRequest {
  readonly path: string;
  readonly calledAs?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Reads a file when the calls on it that were made before are done; null if there is none. */
export async function readInTurn(request: ReadRequest): Promise<Uint8Array | null> {
  const turn = new ReadTurn(request.path, request.signal);
  await takeTurn(queueKey(request), turn);
  return turn.bytes;
}

/** The synchronous form of {@linkcode readInTurn}: carries out what waits on the path itself. */
export function readInTurnSync(request: ReadRequest): Uint8Array | null {
  const turn = new ReadTurn(request.path, undefined);
  takeTurnSync(queueKey(request), turn);
  return turn.bytes;
}

/** Waits for the calls on a path that were made before. */
export async function waitForTurn(path: string, signal: AbortSignal | undefined): Promise<void> {
  await takeTurn(pathKey(path), new EmptyTurn(signal));
}

/** Carries out, with synchronous calls, the calls on a path that were made before. */
export function waitForTurnSync(path: string): void {
  takeTurnSync(pathKey(path), new EmptyTurn(undefined));
}

class EmptyTurn implements Turn {
  readonly merge: string | undefined = undefined;
  readonly counted: boolean = false;
  readonly asyncOnly: boolean = false;
  readonly signal: AbortSignal | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.signal = signal;
  }

  carryOut(): Promise<void> {
    return Promise.resolve();
  }

  carryOutSync(): void {}

  takeOver(): TakeOver {
    return "unfinished";
  }

  readonly isFinished: boolean = true;

  failure(error: Error): unknown {
    return error;
  }

  finish(): Promise<void> {
    return Promise.resolve();
  }
}

class ReadTurn extends EmptyTurn {
  readonly #path: string;
  bytes: Uint8Array | null = null;

  constructor(path: string, signal: AbortSignal | undefined) {
    super(signal);
    this.#path = path;
  }

  override async carryOut(): Promise<void> {
    this.bytes = await run(read(this.#path), this.signal);
  }

  override carryOutSync(): void {
    this.bytes = runSync(read(this.#path));
  }
}

/** Reads a regular file: of a FIFO the read would wait for ever. */
function* read(path: string): Steps<Uint8Array | null> {
  try {
    const info = yield* call((fs) => fs.stat(path));
    if (info === undefined) return null;
    if (info.kind === "directory") throw runtime.error("EISDIR", "Is a directory", path);
    if (info.kind !== "file") throw runtime.error("ENOTSUP", "Is not a regular file", path);
    return yield* call((fs) => fs.readFile(path));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw withContext(error, `Cannot read '${path}'`);
  }
}
