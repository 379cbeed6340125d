/**
 * A download that is published whole or not at all. However it fails or is interrupted, no reader sees
 * half of it, and an older download stays as it was. It is never in memory as a whole.
 *
 * Usage: whole_download.ts URL FILE
 *
 * @module
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { atomicWrite } from "@aperture/atomic";

/** Downloads a file. If not all of it arrives, it throws and leaves the old file. */
export async function download(url: string | URL, path: string): Promise<void> {
  const response = await fetch(url, { signal: AbortSignal.timeout(60_000) });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new Error(`Cannot download '${url}': HTTP status ${response.status}`);
  }
  await atomicWrite(path, whole(response), { durability: "durable" });
}

/** Yields the body, and throws at its end if it is shorter than announced. */
async function* whole({ body, headers }: Response): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    length += chunk.byteLength;
    yield chunk;
  }
  // The length of a compressed body is not that of its content: compare a digest there.
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
