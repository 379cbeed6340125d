import { onAbort, throwIfAborted } from "../base/abort.ts";
import { bytesContent, chunkOf, type Content } from "./content.ts";
import { ChunkBuffer } from "./chunk_buffer.ts";
import { Replacement } from "./replacement.ts";
import type { WriteRequest } from "./request.ts";
import { run } from "../base/steps.ts";
import { inspectTarget, type Target, withParents } from "./target.ts";
import {
  append,
  createTemp,
  discardTemp,
  setAside,
  setAttributesAndSync,
  type TempFile,
} from "./temp_file.ts";

/** A replacement whose content comes piece by piece. It takes its turn when that is complete. */
export class StreamWriter {
  readonly #request: WriteRequest;
  readonly #target: Target;
  readonly #temp: TempFile;
  readonly #buffer = new ChunkBuffer();
  readonly #stopListening: () => void;
  #state: "open" | "committed" | "discarded" = "open";
  /** Why nothing of it can be committed any more. */
  #failure: { readonly error: unknown } | undefined;
  /** Settled when all calls made so far are. */
  #calls: Promise<unknown> = Promise.resolve();
  #pending = 0;
  /** How many chunks a stream has accepted, and how many of these were handed on. */
  #accepted = 0;
  #handedOn = 0;
  /** Those who wait for a chunk to be handed on, or for the end. */
  readonly #onProgress: (() => void)[] = [];

  private constructor(request: WriteRequest, target: Target, temp: TempFile) {
    this.#request = request;
    this.#target = target;
    this.#temp = temp;
    const { signal } = request;
    this.#stopListening = onAbort(signal, () => void this.fail(signal!.reason));
  }

  /** Looks at what is to be replaced, and creates the temporary file. */
  static async open(request: WriteRequest): Promise<StreamWriter> {
    throwIfAborted(request.signal);
    const target = await run(withParents(request, inspectTarget(request)), request.signal);
    throwIfAborted(request.signal);
    const temp = await run(createTemp(request, target), request.signal);
    if (request.signal?.aborted) await run(discardTemp(temp));
    throwIfAborted(request.signal);
    return new StreamWriter(request, target, temp);
  }

  get path(): string {
    return this.#request.path;
  }

  /**
   * Appends a chunk. A small one is copied, and nothing has to be waited for; the failure to
   * write it is that of a later call.
   */
  write(chunk: unknown): Promise<void> | undefined {
    this.#mustBeOpen("write to");
    let bytes: Uint8Array;
    try {
      bytes = this.#buffer.encode(chunkOf(chunk));
    } catch (error) {
      void this.fail(error);
      throw error;
    }
    if (this.#pending === 0 && this.#buffer.add(bytes)) return undefined;
    const content = bytesContent(bytes);
    return this.#next(() =>
      this.#orFail(async () => {
        this.#mustBeOpen("write to");
        await this.#append(content, bytes);
      })
    );
  }

  /** A stream into the file. To close it is no commit: a pipe that ends early would publish a part. */
  createWritable(): WritableStream<Uint8Array> {
    return new WritableStream<Uint8Array>({
      write: (chunk) => {
        this.#handedOn++;
        this.#tellProgress();
        return this.write(chunk);
      },
      close: () => {
        // A chunk that comes after it is measured all the same, and never handed on.
        this.#handedOn = Infinity;
        this.#tellProgress();
      },
      abort: (reason) => reason === undefined ? this.discard() : this.fail(reason),
    }, {
      highWaterMark: 1,
      size: () => {
        this.#accepted++;
        return 1;
      },
    });
  }

  /** Finishes the file and puts it in its target's place. */
  async commit(): Promise<void> {
    // A stream hands its chunks on one by one: those that wait in it are to be committed too.
    const accepted = this.#accepted;
    while (this.#handedOn < accepted && this.#failure === undefined && this.#state === "open") {
      await new Promise<void>((resolve) => this.#onProgress.push(resolve));
    }
    // Now, since the second half could come with a write that is called after this, and fails.
    const rest = this.#buffer.endText();
    await this.#next(() =>
      this.#orFail(async () => {
        this.#mustBeOpen("commit");
        const [request, temp, target] = [this.#request, this.#temp, this.#target];
        await this.#append(bytesContent(rest), rest);
        await run(append(request, temp, bytesContent(this.#buffer.flush())), request.signal);
        await run(setAttributesAndSync(request, temp, target.attributes), request.signal);
        await run(setAside(request, temp));
        await new Replacement(request, undefined, { temp, target }).write();
        this.#end("committed");
      })
    );
  }

  /** Gives the replacement up; after a commit it does nothing. */
  discard(): Promise<void> {
    return this.#next(() => this.#discard(undefined));
  }

  /** Gives the replacement up, so that later calls fail with `error`. */
  fail(error: unknown): Promise<void> {
    // At once, so that a write or commit that is called now fails already.
    if (this.#state === "open") this.#failure ??= { error };
    this.#tellProgress();
    return this.#next(() => this.#discard({ error }));
  }

  async #append(content: Content, bytes: Uint8Array): Promise<void> {
    content.slice(0); // Throws if it is not whole any more.
    if (this.#buffer.add(bytes)) return;
    const [request, temp] = [this.#request, this.#temp];
    await run(append(request, temp, bytesContent(this.#buffer.flush())), request.signal);
    content.slice(0);
    if (!this.#buffer.add(bytes)) await run(append(request, temp, content), request.signal);
  }

  /** Carries out `work` after all that was called before. */
  #next(work: () => Promise<void>): Promise<void> {
    this.#pending++;
    const done = this.#calls.then(work).finally(() => this.#pending--);
    this.#calls = done.catch(() => {});
    return done;
  }

  /** After a failure nothing can be committed, or a part would be taken for the whole. */
  async #orFail(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await this.#discard({ error });
      throw error;
    }
  }

  #mustBeOpen(action: string): void {
    throwIfAborted(this.#request.signal);
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#state !== "open") {
      throw new TypeError(`Cannot ${action} '${this.path}': it is ${this.#state} already`);
    }
  }

  async #discard(failure: { error: unknown } | undefined): Promise<void> {
    if (this.#state !== "open") return;
    this.#failure ??= failure;
    this.#end("discarded");
    await run(discardTemp(this.#temp));
  }

  #tellProgress(): void {
    for (const tell of this.#onProgress.splice(0)) tell();
  }

  #end(state: "committed" | "discarded"): void {
    this.#state = state;
    this.#tellProgress();
    this.#stopListening();
  }
}
