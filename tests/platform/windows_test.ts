/** The library on real Windows: files that other programs have open, and multiple drives. */
import { assertEquals, assertRejects } from "@std/assert";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { atomicWrite, atomicWriteSync, DirLock, LOCK_FILE_NAME } from "../../mod.ts";
import { assertBlocks } from "../support/blocks.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { isDeno, isWindows, isWine, test } from "../support/test.ts";
import { openShared, SHARE } from "../support/windows_file.ts";
import { within } from "../support/within.ts";

const skip = !isWindows && "only Windows has share modes";

for (let share = 0; share < 8; share++) {
  const allowed = Object.entries(SHARE).filter(([, bit]) => (share & bit) !== 0);
  const who = `a reader that shares ${allowed.map(([what]) => what).join(", ") || "nothing"}`;

  if ((share & SHARE.delete) === 0) {
    test(`atomicWrite() waits for ${who}`, () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        const reader = openShared(file, share);
        await within(assertBlocks(atomicWrite(file, "new"), () => reader.close()));
        assertEquals([text(file), list(dir)], ["new", ["file"]]);
      }), { skip });
    continue;
  }

  for (const form of ["atomicWrite", "atomicWriteSync"] as const) {
    test(`${form}() does not wait for ${who}`, () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        const reader = openShared(file, share);
        try {
          await ({ atomicWrite, atomicWriteSync })[form](file, "new");
          assertEquals([text(file), list(dir)], ["new", ["file"]]);
        } finally {
          reader.close();
        }
      }), {
      skip: skip || (!isDeno && "only Deno renames with POSIX semantics") ||
        (isWine && "Wine 10 cannot rename over an open file"),
    });
  }
}

const replace = process.env.APERTURE_REPLACE_PROGRAM;

// If this test fails, Wine supports such renames, and the tests skipped above can run.
test(
  "a native program also cannot replace an open file under Wine 10",
  () =>
    inTempDir((dir) => {
      const lines = execFileSync(replace!, [dir], { encoding: "utf8" }).trim().split(/\r?\n/);
      // ERROR_INVALID_PARAMETER: no POSIX semantics; ERROR_ACCESS_DENIED: the file is open.
      assertEquals(lines, [4, 5, 6, 7].map((share) => `${share}: 87, 5, 0`));
    }),
  { skip: replace === undefined && "needs Wine and APERTURE_REPLACE_PROGRAM" },
);

test(
  "A failed atomicWrite() removes its temporary file once a reader closes it",
  () =>
    inTempDir(async (dir) => {
      let reader: { close(): void } | undefined;
      const write = () =>
        intercepted(({ name, args }) => {
          if (name === "rename") {
            reader = openShared(String(args[0]), SHARE.read | SHARE.write);
            throw systemError("EIO");
          }
          if (name !== "remove" || reader === undefined) return;
          const { close } = reader;
          reader = undefined;
          setTimeout(close, 20);
        }, () => atomicWrite(path.join(dir, "file"), "new"));
      await assertRejects(write, Error, "EIO");
      assertEquals(list(dir), []);
    }),
  { skip },
);

test(
  "DirLock.acquire() waits for a reader that opened the lock file without sharing",
  () =>
    inTempDir(async (dir) => {
      DirLock.acquireSync(dir).release();
      const reader = openShared(path.join(dir, LOCK_FILE_NAME), 0);
      assertEquals(await DirLock.tryAcquire(dir), null);
      const lock = await within(assertBlocks(DirLock.acquire(dir), () => reader.close()));
      lock.release();
    }),
  { skip },
);

const [one, other] = process.env.APERTURE_VOLUMES?.split(";") ?? [];

test(
  "atomicWrite() resolves a path on another drive from that drive's root",
  async () => {
    const before = process.cwd();
    process.chdir(one!);
    try {
      await atomicWrite(`${other!.slice(0, 2)}of-another-drive`, "new");
    } finally {
      process.chdir(before);
    }
    const file = path.join(other!, "of-another-drive");
    assertEquals(text(file), "new");
    fs.rmSync(file);
  },
  { skip: !(isWindows && other) && "requires a second drive in APERTURE_VOLUMES" },
);
