import { assertEquals } from "@std/assert";
import process from "node:process";
import { DirLock } from "../../mod.ts";
import { inTempDir } from "../support/dir.ts";
import { isDeno, test } from "../support/test.ts";
import { run } from "./command.ts";

test("`holders` prints the processes that hold the lock, or exits with 69 if it cannot identify them", () =>
  inTempDir(async (dir) => {
    const lock = await DirLock.acquire(dir);
    const held = await run(dir, ["holders", "."]);
    lock.release();
    const free = await run(dir, ["holders", "."]);
    if (process.platform === "linux" && !isDeno) {
      assertEquals(held, { code: 0, out: `${process.pid}\n`, err: "" });
      assertEquals(free, { code: 1, out: "", err: "" });
    } else {
      // Deno can identify the holders only with --allow-all.
      const err = "aperture-atomic: Cannot determine which processes hold the lock on '.'\n";
      assertEquals([held, free], Array(2).fill({ code: 69, out: "", err }));
    }
  }));
