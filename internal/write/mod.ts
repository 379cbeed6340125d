import { contentOf, contentOfChunks, isBlob, isReadable } from "./content.ts";
import { replace, replaceSync } from "./replacement.ts";
import type { WriteRequest } from "./request.ts";
import { replaceFrom, sourceOf, wrongData } from "./source.ts";

/**
 * Starts a write, which joins the queue immediately if its data is in memory, or else when its
 * source ends.
 */
export function write(request: WriteRequest, data: unknown): Promise<void> {
  const content = contentOf(data) ?? contentOfChunks(data);
  if (content !== undefined) return replace(request, { content });
  if (isBlob(data) && isReadable(data)) return replace(request, { blob: data });
  return replaceFrom(sourceOf(data), request);
}

/** Writes synchronously. */
export function writeSync(request: WriteRequest, data: unknown): void {
  const content = contentOf(data) ?? contentOfChunks(data);
  if (content === undefined) {
    throw wrongData(data, "a string, bytes or an iterable of strings and bytes");
  }
  replaceSync(request, content);
}
