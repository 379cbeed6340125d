import type { Call } from "./strace.ts";

/**
 * Cuts the power after each call, and looks at what a reader may find then.
 *
 * The model is a file system that keeps a journal of its directories: of the changes of names that
 * are not synced, any number of the first may have reached the disk. The content of a file goes its
 * own way: if it is not synced, any part of it may have reached the disk, before or after its name.
 * A sync of the directory brings all changes of names before it to the disk; a sync of a file its
 * content, and on no account its name.
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
      // Of what is not synced: nothing, a part, all.
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
