import type { Edit } from "../part.ts";

/**
 * A precaution that the library takes on network file systems, and the check that fails without it.
 */
export interface Fix extends Edit {
  readonly name: string;
  readonly check: "exclusion" | "hardLinks" | "replacedLock" | "reads";
}

/** Each edit must match both the source and the JavaScript compiled from it. */
export const FIXES: readonly Fix[] = [
  {
    name: "no refresh of the directory under the lock",
    file: "runtime/shared/directory_refresh.ts",
    find: 'process.platform !== "linux" || hasDisk(Number.parseInt(fileId))',
    replace: "fileId !== undefined",
    check: "hardLinks",
  },
  {
    name: "no refresh of the directory in verify()",
    file: "lock.ts",
    find: "runtime.refreshDir(hold.dir, hold.id);",
    replace: "",
    check: "replacedLock",
  },
  {
    name: "no word of other machines' locks",
    file: "runtime/shared/lock_holders.ts",
    find: "hasDisk(Number(device)) || LOCAL.has(fs.statfsSync(path).type)",
    replace: "device !== undefined",
    check: "exclusion",
  },
  {
    name: "no second read after ESTALE",
    file: "internal/order/read_turn.ts",
    find: 'codeOf(error) === "ESTALE" && tries < MAX_NFS_TRIES',
    replace: "tries === 0",
    check: "reads",
  },
  {
    name: "no second look for a missing name",
    file: "internal/order/read_turn.ts",
    find: "!runtime.mayReappear(dirname(path), basename(path))",
    replace: "tries > 0",
    check: "reads",
  },
];
