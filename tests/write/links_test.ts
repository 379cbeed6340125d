/** Symbolic links that the kernel does not follow or that change while they are followed. */
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { AtomicFile, atomicWrite, type AtomicWriteOptions, atomicWriteSync } from "../../mod.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { intercepted, recorded, systemError } from "../support/runtime.ts";
import { isDeno27, isRoot, isWindows, test, testWithLinks } from "../support/test.ts";

const ways: [string, (file: string, options?: AtomicWriteOptions) => Promise<unknown>][] = [
  ["atomicWrite()", (file, options) => atomicWrite(file, "new", options)],
  [
    "atomicWriteSync()",
    (file, options) => Promise.resolve().then(() => atomicWriteSync(file, "new", options)),
  ],
  ["AtomicFile", async (file, options) => {
    await using draft = await AtomicFile.open(file, options);
    await draft.write("new");
    await draft.commit();
  }],
];

/**
 * Returns why the kernel's protection of links in sticky directories cannot be tested, or false if
 * it can.
 */
function unprotected(): string | false {
  if (process.platform !== "linux") return "only Linux has /proc/self/fd";
  if (!isRoot) return "needs root to make another user's link";
  const setting = fs.readFileSync("/proc/sys/fs/protected_symlinks", "utf8").trim();
  return setting !== "1" && "fs.protected_symlinks is off";
}

for (const [what, write] of ways) {
  for (const dangling of [false, true]) {
    test(
      `${what} does not follow a ${dangling ? "dangling " : ""}link that the kernel protects`,
      () =>
        inTempDir(async (dir) => {
          const sticky = path.join(dir, "sticky");
          const victim = path.join(dir, "victim");
          fs.chmodSync(dir, 0o755);
          fs.mkdirSync(sticky);
          fs.chmodSync(sticky, 0o1777);
          if (!dangling) fs.writeFileSync(victim, "precious");
          const link = path.join(sticky, "link");
          fs.symlinkSync(victim, link);
          fs.lchownSync(link, 1234, 1234);
          const error = await assertRejects(() => write(link), Error);
          assertEquals((error as Error & { code?: string }).code, "EACCES");
          assertEquals(fs.existsSync(victim), !dangling);
          if (!dangling) assertEquals(text(victim), "precious");
          assertEquals([list(sticky), fs.readlinkSync(link)], [["link"], victim]);
          // Anyone with write access to the directory may replace the link itself.
          await write(link, { symlinks: "replace" });
          assertEquals(text(link), "new");
        }),
      { skip: unprotected() },
    );
  }

  testWithLinks(
    `${what} reports the kernel's error when the kernel cannot follow a link`,
    () =>
      inTempDir(async (dir) => {
        const link = path.join(dir, "link");
        fs.writeFileSync(path.join(dir, "file"), "old");
        fs.symlinkSync("file", link);
        const eacces = systemError("EACCES");
        const calls = await intercepted(({ name, args }) => {
          if (name === "stat" && args[0] === link) throw eacces;
        }, async () => {
          assertStrictEquals(await assertRejects(() => write(link)), eacces);
        });
        assert(!calls.some(({ name }) => name === "create"));
        assertEquals((eacces as Error & { step?: string }).step, "inspect");
        assertEquals([text(link), list(dir)], ["old", ["file", "link"]]);
      }),
  );

  testWithLinks(
    `${what} refuses a link to a path that only a directory can have`,
    () =>
      inTempDir(async (dir) => {
        const link = path.join(dir, "link");
        for (const to of ["new/", "new///", "new/.", "./"]) {
          fs.symlinkSync(to, link);
          const calls = await recorded(async () => {
            const error = await assertRejects(() => write(link), Error);
            assertEquals((error as Error & { code?: string }).code, "EISDIR", to);
          });
          assert(!calls.some(({ name }) => name === "create"));
          fs.rmSync(link);
        }
        assertEquals(list(dir), []);
      }),
  );

  testWithLinks(
    `${what} follows a link again when the link changes in the meantime`,
    () =>
      inTempDir(async (dir) => {
        const link = path.join(dir, "link");
        for (const name of ["one", "two"]) fs.writeFileSync(path.join(dir, name), name);
        fs.symlinkSync("one", link);
        let looks = 0;
        const calls = await intercepted(({ name }) => {
          // Change the link between stat(2) and readlink(2).
          if (name !== "readLink" || ++looks > 1) return;
          fs.unlinkSync(link);
          fs.symlinkSync("two", link);
        }, () => write(link));
        assert(calls.filter(({ name }) => name === "readLink").length > 1);
        assertEquals(["one", "two"].map((name) => text(path.join(dir, name))), ["one", "new"]);
        assertEquals(list(dir), ["link", "one", "two"]);
      }),
  );

  test(
    `${what} creates nothing when the path is a deleted file in /proc/self/fd`,
    () =>
      inTempDir(async (dir) => {
        const gone = path.join(dir, "gone");
        const descriptor = fs.openSync(gone, "w");
        try {
          fs.unlinkSync(gone);
          await assertRejects(() => write(`/proc/self/fd/${descriptor}`), Error);
          assertEquals(list(dir), []);
        } finally {
          fs.closeSync(descriptor);
        }
      }),
    {
      skip: process.platform !== "linux"
        ? "only Linux has /proc/self/fd"
        : isDeno27 && "its node:fs uses its own descriptor numbers",
    },
  );

  testWithLinks(
    `${what} fails with the error of readlink(2) and reports the link as the target`,
    () =>
      inTempDir(async (dir) => {
        fs.symlinkSync("file", path.join(dir, "link"));
        const eio = systemError("EIO") as Error & { step?: string; target?: string };
        await intercepted(({ name }) => {
          if (name === "readLink") throw eio;
        }, async () => {
          assertStrictEquals(await assertRejects(() => write(path.join(dir, "link"))), eio);
        });
        assertEquals([eio.step, eio.target], ["inspect", path.join(dir, "link")]);
      }),
  );
}

test(
  "atomicWrite() does not call stat() on a file that is not a link",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (const _ of ["absent", "present"]) {
        const calls = await recorded(() => atomicWrite(file, "x"));
        assertEquals(calls.filter(({ name }) => name === "stat").length, 0);
      }
    }),
  { skip: isWindows && "the calls differ on Windows" },
);

for (const how of ["commit", "discard"] as const) {
  testWithLinks(
    `AtomicFile.${how}() leaves no temporary file when the link to its directory has changed`,
    () =>
      inTempDir(async (dir) => {
        const [one, two, link] = ["one", "two", "link"].map((name) => path.join(dir, name));
        for (const name of [one, two]) fs.mkdirSync(name!);
        fs.symlinkSync("one", link!);
        const file = await AtomicFile.open(path.join(link!, "file"));
        await file.write("new");
        fs.unlinkSync(link!);
        fs.symlinkSync("two", link!);
        await file[how]();
        // Links in a call's path are followed when the call takes effect.
        assertEquals([list(one!), list(two!)], [[], how === "commit" ? ["file"] : []]);
      }),
  );
}

testWithLinks(
  "AtomicFile.commit() keeps the mode of the new target when its link has been changed",
  () =>
    inTempDir(async (dir) => {
      const [one, two, link] = ["one", "two", "link"].map((name) => path.join(dir, name));
      for (const name of [one, two]) fs.mkdirSync(name!);
      fs.writeFileSync(path.join(two!, "file"), "old");
      fs.chmodSync(path.join(two!, "file"), 0o600);
      fs.symlinkSync("one", link!);
      const file = await AtomicFile.open(path.join(link!, "file"));
      await file.write("new");
      fs.unlinkSync(link!);
      fs.symlinkSync("two", link!);
      await file.commit();
      assertEquals([list(one!), fs.readFileSync(path.join(two!, "file"), "utf8")], [[], "new"]);
      if (!isWindows) assertEquals(fs.statSync(path.join(two!, "file")).mode & 0o777, 0o600);
    }),
);
