import process from "node:process";
import { isBun, isDeno, isRoot } from "./test.ts";

/** Why a process cannot become another user here, or false. */
export const cannotBecome: string | false = process.platform !== "linux"
  ? "only Linux has /proc/self/fd"
  : !isRoot
  ? "requires root"
  : isBun && typeof process.setuid !== "function" && "setuid is not available";

/**
 * Switches this process and all of its threads to another user permanently. Before the switch, load
 * all modules that the process needs: the other user may not be able to read them.
 */
export function become(uid: number, gid: number, groups: number[] = []): void {
  if (!isDeno) {
    process.setgroups!(groups);
    process.setgid!(gid);
    process.setuid!(uid);
    return;
  }
  const libc = Deno.dlopen("libc.so.6", {
    setgroups: { parameters: ["usize", "buffer"], result: "i32" },
    setgid: { parameters: ["u32"], result: "i32" },
    setuid: { parameters: ["u32"], result: "i32" },
  });
  const { setgroups, setgid, setuid } = libc.symbols;
  const failed = setgroups(BigInt(groups.length), new Uint32Array(groups)) || setgid(gid) ||
    setuid(uid);
  libc.close();
  if (failed !== 0) throw new Error("Cannot become another user");
}
