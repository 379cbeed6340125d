import * as fs from "node:fs";
import * as path from "node:path";
import { isTempName } from "../../mod.ts";
import { intercepted, type SeamCall } from "./runtime.ts";

/** Returns the temporary files in a directory. */
export function temps(dir: string): string[] {
  return fs.readdirSync(dir).filter(isTempName);
}

/**
 * Calls `fn`; returns the largest number of temporary files seen in `dir` during any call to the
 * runtime.
 */
export async function mostTemps(dir: string, fn: () => unknown): Promise<number> {
  let most = 0;
  await intercepted(() => {
    most = Math.max(most, temps(dir).length);
  }, fn);
  return most;
}

/** The state of a temporary file during a call to the runtime. */
export interface Sight {
  readonly call: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/** Calls `fn`; returns the state of each temporary file in `dir` at each call to the runtime. */
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

/** Returns the bytes that a call to the runtime writes; undefined for other calls. */
export function bytesOf({ name, args }: SeamCall): Uint8Array | undefined {
  if (name !== "file.write" && name !== "writeNew") return undefined;
  return args.find((arg) => ArrayBuffer.isView(arg)) as Uint8Array | undefined;
}

/** Whether a call to the runtime writes bytes that start with `start`. */
export function writes(call: SeamCall, start: string): boolean {
  const bytes = bytesOf(call);
  if (bytes === undefined || bytes.byteLength < start.length) return false;
  return new TextDecoder().decode(bytes.slice(0, start.length)) === start;
}
