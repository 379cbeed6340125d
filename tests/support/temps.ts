import * as fs from "node:fs";
import * as path from "node:path";
import { isTempName } from "../../mod.ts";
import { intercepted, type SeamCall } from "./runtime.ts";

/** The temporary files in a directory. */
export function temps(dir: string): string[] {
  return fs.readdirSync(dir).filter(isTempName);
}

/** Calls `fn`; the most temporary files that were in `dir` at once, at any call of the seam. */
export async function mostTemps(dir: string, fn: () => unknown): Promise<number> {
  let most = 0;
  await intercepted(() => {
    most = Math.max(most, temps(dir).length);
  }, fn);
  return most;
}

/** What a temporary file was like when the seam was called. */
export interface Sight {
  readonly call: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/** Calls `fn`; what every temporary file in `dir` was like at each call of the seam. */
export async function seenTemps(dir: string, fn: () => unknown): Promise<Sight[]> {
  const seen: Sight[] = [];
  await intercepted(({ name }) => {
    for (const temp of temps(dir)) {
      const { uid, gid, mode } = fs.statSync(path.join(dir, temp));
      seen.push({ call: name, uid, gid, mode: mode & 0o7777 });
    }
  }, fn);
  return seen;
}

/** The bytes that a call of the seam is to write; undefined for another call. */
export function bytesOf({ name, args }: SeamCall): Uint8Array | undefined {
  if (name !== "file.write" && name !== "writeNew") return undefined;
  return args.find((arg) => ArrayBuffer.isView(arg)) as Uint8Array | undefined;
}

/** Whether a call of the seam is to write what starts with `start`. */
export function writes(call: SeamCall, start: string): boolean {
  const bytes = bytesOf(call);
  if (bytes === undefined || bytes.byteLength < start.length) return false;
  return new TextDecoder().decode(bytes.slice(0, start.length)) === start;
}
