import type { Call } from "./strace.ts";

/**
 * Simulates a power cut after each call and checks what a reader could find afterwards.
 *
 * The model is a file system that journals its directories, so any prefix of the unsynced name
 * changes may be on disk. Content is independent of names, so any part of an unsynced file may be
 * on disk, whether or not the file's name is. Syncing a directory writes all earlier name changes
 * to disk; syncing a file writes its content but never its name.
 */
export function replay(
  calls: readonly Call[],
  existing: boolean,
  durability: "none" | "consistent" | "durable",
): { states: number; bad: string[] } {
  const bad: string[] = [];
  let states = 0;
  const size = calls.reduce((sum, { bytes }) => sum + bytes, 0);
  for (let cut = 0; cut <= calls.length; cut++) {
    const done = calls.slice(0, cut);
    const lastOf = (name: Call["name"]) => done.findLastIndex((call) => call.name === name);
    const written = done.reduce((sum, { bytes }) => sum + bytes, 0);
    const synced = done.slice(0, lastOf("sync") + 1).reduce((sum, { bytes }) => sum + bytes, 0);
    const names = done.flatMap(({ name }, at) => isName(name) ? [{ name, at }] : []);
    const certain = names.filter(({ at }) => at < lastOf("sync dir")).length;
    for (let kept = certain; kept <= names.length; kept++) {
      const landed = names.slice(0, kept).some(({ name }) => name === "rename" || name === "link");
      // None, part or all of the unsynced content may be on disk.
      for (const content of new Set([synced, Math.floor((synced + written) / 2), written])) {
        states++;
        const found = landed ? content === size ? "new" : "torn" : existing ? "old" : "nothing";
        const complete = cut === calls.length;
        if (found === "torn" || (complete && durability === "durable" && found !== "new")) {
          bad.push(`${found} after ${cut} of ${calls.length} calls`);
        }
      }
    }
  }
  return { states, bad };
}

function isName(name: Call["name"]): boolean {
  return ["create", "rename", "link", "unlink"].includes(name);
}
