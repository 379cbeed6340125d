/**
 * A download that is published in full or not at all. If the download fails or is interrupted,
 * readers never see part of it, and the previous download is kept. The download is never held in
 * memory in full.
 *
 * Usage: whole_download.ts URL FILE
 *
 * @module
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { atomicWrite } from "@aperture/atomic";

/** Downloads a file. If the download is incomplete, throws an error and keeps the old file. */
export async function download(url: string | URL, path: string): Promise<void> {
  const response = await fetch(url, { signal: AbortSignal.timeout(60_000) });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new Error(`Cannot download '${url}': HTTP status ${response.status}`);
  }
  await atomicWrite(path, whole(response), { durability: "durable" });
}

/** Yields the body's chunks, then throws if the body's length differs from `content-length`. */
async function* whole({ body, headers }: Response): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    length += chunk.byteLength;
    yield chunk;
  }
  // For compressed bodies, content-length is the compressed length; compare a digest instead.
  const announced = headers.get("content-length");
  if (announced !== null && headers.get("content-encoding") === null) {
    if (length !== Number(announced)) throw new Error(`${length} of ${announced} bytes arrived`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [url, path] = process.argv.slice(2);
  if (url === undefined || path === undefined) {
    console.error("Usage: whole_download.ts URL FILE");
    process.exit(64);
  }
  await download(url, path);
}
