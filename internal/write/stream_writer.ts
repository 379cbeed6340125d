import { runtime } from "../../runtime/mod.ts";
import { onAbort, throwIfAborted } from "../base/abort.ts";
import { bytesContent, chunkOf, type Content } from "./content.ts";
import { ChunkBuffer } from "./chunk_buffer.ts";
import { replace } from "./replacement.ts";
import type { WriteRequest } from "./request.ts";
import { run } from "../base/steps.ts";
import { prepareTarget, type Target } from "./target.ts";
import { TempFile } from "./temp_file.ts";

/**
 * A replacement whose content arrives in chunks. It takes its turn when the content is complete.
 */
export class StreamWriter {
  readonly #request: WriteRequest;
  readonly #target: Target;
  readonly #temp: TempFile;
  readonly #buffer = new ChunkBuffer();
  readonly #stopListening: () => void;
  #state: "open" | "committed" | "discarded" = "open";
  /** Why the replacement can no longer be committed. */
  #failure: { readonly error: unknown } | undefined;
  /** Settles when all calls made so far have settled. */
  #calls: Promise<unknown> = Promise.resolve();
  #pending = 0;
  #stream: WritableStream<Uint8Array> | undefined;
  #isStreamClosed = false;
  /** How many chunks the stream has accepted but not written yet. */
  #queued = 0;
  #hasStreamed = false;

  private constructor(request: WriteRequest, target: Target, temp: TempFile) {
    this.#request = request;
    this.#target = target;
    this.#temp = temp;
    const { signal } = request;
    this.#stopListening = onAbort(signal, () => void this.fail(signal!.reason));
  }

  /** Inspects the target and creates the temporary file. */
  static async open(request: WriteRequest): Promise<StreamWriter> {
    throwIfAborted(request.signal);
    const target = await run(prepareTarget(request));
    throwIfAborted(request.signal);
    const temp = await run(TempFile.create(request, target));
    if (request.signal?.aborted) await run(temp.discard());
    throwIfAborted(request.signal);
    temp.findRealPath();
    return new StreamWriter(request, target, temp);
  }

  get path(): string {
    return this.#request.path;
  }

  /**
   * Appends a chunk. Copies a small chunk to a buffer and returns undefined; if the buffer cannot
   * be written, a later call fails.
   */
  write(chunk: unknown): Promise<void> | undefined {
    this.#mustBeOpen("write to");
    let bytes: Uint8Array;
    try {
      bytes = this.#buffer.encode(chunkOf(chunk));
    } catch (error) {
      return this.fail(error).then(() => Promise.reject(error));
    }
    if (this.#pending === 0 && this.#buffer.add(bytes)) return undefined;
    const content = bytesContent(bytes);
    return this.#next(async () => {
      this.#mustBeOpen("write to");
      await this.#append(content, bytes);
    });
  }

  /**
   * A stream that writes to the file. Closing it does not commit, so a pipe that ends early
   * publishes nothing.
   */
  get stream(): WritableStream<Uint8Array> {
    return this.#stream ??= runtime.writableStream({
      write: async (chunk) => {
        await this.write(chunk);
        this.#queued--;
      },
      close: () => void (this.#isStreamClosed = true),
      abort: (reason) => reason === undefined ? this.discard() : this.fail(reason),
    }, {
      highWaterMark: 1,
      // The stream's write() calls this synchronously, but calls the `write` function above later.
      size: () => {
        this.#hasStreamed = true;
        this.#queued++;
        return 1;
      },
    });
  }

  /** Finishes the file and renames it over its target. */
  async commit(): Promise<void> {
    if (this.#isStreaming) await this.#streamEnd();
    // End the text now: a later write() must not add the second half of a surrogate pair.
    const rest = this.#buffer.endText();
    await this.#next(async () => {
      this.#mustBeOpen("commit");
      const [request, temp, target] = [this.#request, this.#temp, this.#target];
      await this.#append(bytesContent(rest), rest);
      await this.#appendToFile(bytesContent(this.#buffer.flush()));
      await run(temp.seal(target.attributes));
      await replace(request, { draft: temp });
      this.#end("committed");
    });
  }

  /** Removes what was written; does nothing after a commit. */
  discard(): Promise<void> {
    return this.#next(() => this.#discard(undefined));
  }

  /** Removes what was written and makes later calls fail with `error`. */
  fail(error: unknown): Promise<void> {
    // Set immediately, so that the next write() or commit() fails.
    if (this.#state === "open") this.#failure ??= { error };
    return this.#next(() => this.#discard({ error }));
  }

  /**
   * Whether the stream is open and either has been written to or is locked by a writer or a pipe.
   */
  get #isStreaming(): boolean {
    if (this.#stream === undefined || this.#isStreamClosed) return false;
    if (this.#state !== "open" || this.#failure !== undefined) return false;
    return this.#hasStreamed || this.#stream.locked;
  }

  /**
   * Waits for the stream to end. If nothing has closed the stream, throws and leaves the file open.
   */
  async #streamEnd(): Promise<void> {
    // A close() takes effect a few microtasks after all chunks have been written.
    for (let idle = 0; idle < 20; idle = this.#queued > 0 ? 0 : idle + 1) {
      if (!this.#isStreaming) return;
      await this.#calls;
    }
    throw new TypeError(
      `Cannot commit '${this.path}': 'writable' has not been closed. ` +
        "First await its close() or the pipe into it",
    );
  }

  async #append(content: Content, bytes: Uint8Array): Promise<void> {
    content.slice(0); // Throws if bytes are missing.
    if (this.#buffer.add(bytes)) return;
    await this.#appendToFile(bytesContent(this.#buffer.flush()));
    content.slice(0);
    if (!this.#buffer.add(bytes)) await this.#appendToFile(content);
  }

  #appendToFile(content: Content): Promise<void> {
    return run(this.#temp.append(content, () => throwIfAborted(this.#request.signal)));
  }

  /** Runs `work` after all earlier calls. */
  #next(work: () => Promise<void>): Promise<void> {
    this.#pending++;
    const done = this.#calls.then(work).catch(async (error) => {
      // A later commit() must fail, because it would publish an incomplete file.
      await this.#discard({ error });
      throw error;
    }).finally(() => this.#pending--);
    this.#calls = done.catch(() => {});
    return done;
  }

  #mustBeOpen(action: string): void {
    throwIfAborted(this.#request.signal);
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#state !== "open") {
      throw new TypeError(`Cannot ${action} '${this.path}': it has already been ${this.#state}`);
    }
  }

  async #discard(failure: { error: unknown } | undefined): Promise<void> {
    if (this.#state !== "open") return;
    this.#failure ??= failure;
    this.#end("discarded");
    await run(this.#temp.discard());
  }

  #end(state: "committed" | "discarded"): void {
    this.#state = state;
    this.#stopListening();
  }
}
