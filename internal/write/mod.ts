import { blobContentOf, contentOf } from "./content.ts";
import { kindOf } from "../base/options.ts";
import { Replacement } from "./replacement.ts";
import type { WriteRequest } from "./request.ts";
import { replaceFrom, sourceOf } from "./source.ts";

/** Carries out a call to write. Data in memory joins the queue at once, a source when it has ended. */
export function write(request: WriteRequest, data: unknown): Promise<void> {
  const content = contentOf(data) ?? blobContentOf(data);
  if (content === undefined) return replaceFrom(sourceOf(data), request);
  return new Replacement(request, content).write();
}

/** Carries out a call to write synchronously. */
export function writeSync(request: WriteRequest, data: unknown): void {
  const content = contentOf(data);
  if (content === undefined) {
    throw new TypeError(
      `Data must be a string, an ArrayBuffer or a view of one: received ${kindOf(data)}`,
    );
  }
  new Replacement(request, content).writeSync();
}
