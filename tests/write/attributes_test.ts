/** The mode, owner and group of the new file and of its temporary file. */
import { assert, assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { atomicWrite } from "../../mod.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { seenTemps } from "../support/temps.ts";
import { isRoot, isWindows, test } from "../support/test.ts";
import { cannotBecome } from "../support/users.ts";
import { waysToWrite } from "../support/ways.ts";
import { writer } from "../support/write_worker.ts";

const DURABILITIES = ["none", "consistent", "durable"] as const;
const noModes = isWindows && "Windows has no permission bits";
const notRoot = !isRoot && "only root can change the owner";

const ways = waysToWrite("new");

/** The owner, group and permission bits. */
function attributes(file: string): [number, number, string] {
  const { uid, gid, mode } = fs.statSync(file);
  return [uid, gid, (mode & 0o7777).toString(8)];
}

function make(file: string, uid: number, gid: number, mode: number): void {
  fs.rmSync(file, { force: true });
  fs.writeFileSync(file, "old");
  fs.chownSync(file, uid, gid);
  fs.chmodSync(file, mode);
}

for (const [what, write] of ways) {
  for (const durability of DURABILITIES) {
    test(
      `${what} with a mode keeps the owner and group, with durability "${durability}"`,
      () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, "file");
          for (const mode of [0o600, 0o644, 0o2750, 0o6755, 0o666]) {
            make(file, 1234, 4321, 0o640);
            await write(file, { mode, durability });
            assertEquals(attributes(file), [1234, 4321, mode.toString(8)]);
          }
          assertEquals([list(dir), text(file)], [["file"], "new"]);
        }),
      { skip: noModes || notRoot },
    );

    test(
      `${what} creates a temporary file with only the permissions common to group and others, with durability "${durability}"`,
      () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, "file");
          const modes = [
            [0o640, 0o600],
            [0o644, 0o644],
            [0o664, 0o644],
            [0o604, 0o600],
            [0o660, 0o600],
            [0o777, 0o777],
            [0o600, 0o600],
          ] as const;
          for (const [mode, first] of modes) {
            make(file, 1000, 3000, mode);
            const seen = await seenTemps(dir, () => write(file, { durability }));
            assert(seen.length > 0);
            assertEquals((seen[0]!.mode & ~first).toString(8), "0", `${mode.toString(8)}`);
            for (const { call, uid, gid, mode: now } of seen) {
              if (uid === 1000 && gid === 3000) continue;
              assertEquals((now & ~first).toString(8), "0", `${mode.toString(8)} at ${call}`);
            }
            assertEquals(attributes(file), [1000, 3000, mode.toString(8)]);
          }
        }),
      { skip: noModes || notRoot },
    );

    test(
      `${what} grants nothing to the group of a setgid directory, with durability "${durability}"`,
      () =>
        inTempDir(async (dir) => {
          fs.chownSync(dir, 0, 2001);
          fs.chmodSync(dir, 0o2775);
          const file = path.join(dir, "file");
          for (const mode of [undefined, 0o640]) {
            make(file, 1000, 3000, 0o640);
            const options = { durability, ...mode && { mode } };
            const seen = await seenTemps(dir, () => write(file, options));
            assert(seen.length > 0);
            for (const { call, gid, mode: now } of seen) {
              if (gid !== 3000) assertEquals((now & 0o077).toString(8), "0", call);
            }
            assertEquals(attributes(file), [1000, 3000, "640"]);
          }
        }),
      { skip: noModes || notRoot },
    );
  }
}

test(
  "atomicWrite() without a target or a mode creates the file as open(2) does",
  () =>
    inTempDir(async (dir) => {
      fs.writeFileSync(path.join(dir, "other"), "");
      for (const [what, write] of ways.slice(0, 4)) {
        const file = path.join(dir, what);
        await write(file);
        assertEquals(attributes(file), attributes(path.join(dir, "other")));
      }
    }),
  { skip: noModes },
);

test(
  "atomicWrite() drops set-id bits and group permissions when owner and group cannot be kept",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (
        const [mode, wanted] of [[0o6775, 0o0755], [0o4640, 0o0600], [0o2664, 0o0644]] as const
      ) {
        make(file, 7, 8, mode);
        await intercepted(({ name }) => {
          if (name === "file.chown") throw systemError("EPERM");
        }, () => atomicWrite(file, "new"));
        assertEquals((fs.statSync(file).mode & 0o7777).toString(8), wanted.toString(8));
      }
    }),
  { skip: noModes || notRoot },
);

test(
  "atomicWrite() as a non-root user keeps one of the user's groups, with and without a mode",
  () =>
    inTempDir(async (dir) => {
      const names = ["async", "sync", "stream"].flatMap((form) =>
        DURABILITIES.map((durability) => `${form}-${durability}`)
      );
      fs.chownSync(dir, 1234, 1234);
      for (const name of names) make(path.join(dir, name), 1234, 4321, 0o660);
      const modes = ["", "600", "664"];
      const child = writer("writeAs", [dir, 1234, 1234, "4321", modes.join()]);
      for (const mode of modes) {
        const bits = mode === "" ? "660" : mode;
        for (const durability of DURABILITIES) {
          for (const form of ["async", "sync", "stream"]) {
            await child.says(`${form} ${durability} 1234:4321 ${bits}`);
          }
        }
      }
      await child.says("done");
      assertEquals(await child.exit(), 0);
      assertEquals(list(dir), names.sort());
    }),
  { skip: cannotBecome },
);

test(
  "atomicWrite() as a non-root user can set a mode that denies the owner read access",
  () =>
    inTempDir(async (dir) => {
      fs.chownSync(dir, 1234, 1234);
      const modes = ["222", "0", "333", "22"];
      const child = writer("writeAs", [dir, 1234, 1234, "", modes.join()]);
      for (const mode of modes) {
        for (const durability of DURABILITIES) {
          for (const form of ["async", "sync", "stream"]) {
            await child.says(`${form} ${durability} 1234:1234 ${mode}`);
          }
        }
      }
      await child.says("done");
      assertEquals(await child.exit(), 0);
    }),
  { skip: cannotBecome },
);

for (const [from, to] of [["200", "220"], ["400", "440"]] as const) {
  test(
    `AtomicFile.commit() as a non-root user adopts a target's mode that changes from ${from} to ${to}`,
    () =>
      inTempDir(async (dir) => {
        fs.chownSync(dir, 1234, 1234);
        const child = writer("commitAs", [dir, 1234, from, to]);
        await child.says(`${to} 3`);
        assertEquals(await child.exit(), 0);
        assertEquals(list(dir), ["file"]);
      }),
    { skip: cannotBecome },
  );
}

test(
  "atomicWrite() can set a mode that denies the owner read access",
  () =>
    inTempDir(async (dir) => {
      for (const mode of [0o222, 0o000, 0o333]) {
        for (const durability of DURABILITIES) {
          for (const [what, write] of ways.slice(0, 4)) {
            const file = path.join(dir, "file");
            fs.rmSync(file, { force: true });
            await write(file, { mode, durability });
            assertEquals((fs.lstatSync(file).mode & 0o7777).toString(8), mode.toString(8), what);
          }
        }
      }
    }),
  { skip: noModes },
);
