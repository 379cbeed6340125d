/**
 * A download that is there whole or not at all: however it fails or is interrupted, no reader sees
 * half of it, and an older download stays as it was. It is never in memory as a whole.
 *
 * ```sh
 * deno run -A examples/whole_download.ts URL FILE
 * ```
 *
 * @module
 */
import { atomicWrite } from "@aperture/atomic";

/** Downloads a file; throws, and leaves what was there, if not all of it arrives. */
export async function download(url: string | URL, path: string): Promise<void> {
  const response = await fetch(url, { signal: AbortSignal.timeout(60_000) });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new Error(`Cannot download '${url}': HTTP status ${response.status}`);
  }
  await atomicWrite(path, whole(response), { durability: "durable" });
}

/** The body, whose end is an error when it is not as long as was announced. */
async function* whole({ body, headers }: Response): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const chunk of body!) {
    length += chunk.byteLength;
    yield chunk;
  }
  // What was compressed on the way has another length here.
  const announced = headers.get("content-length");
  if (announced !== null && headers.get("content-encoding") === null) {
    if (length !== Number(announced)) throw new Error(`${length} of ${announced} bytes arrived`);
  }
}

if (import.meta.main) {
  const [url, path] = Deno.args;
  if (url === undefined || path === undefined) {
    console.error("Usage: whole_download.ts URL FILE");
    Deno.exit(64);
  }
  await download(url, path);
}
