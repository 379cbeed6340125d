/** Missing directories, and targets that a rename cannot replace. */
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import {
  atomicUpdate,
  atomicWrite,
  type AtomicWriteOptions,
  isAtomicWriteError,
  isTempName,
  sweepTempFiles,
} from "../../mod.ts";
import { onPlatform } from "../support/fake.ts";
import { content, numberOf } from "../support/content.ts";
import { inTempDir, list, openDescriptors, text } from "../support/dir.ts";
import { intercepted, type Interceptor, recorded, systemError } from "../support/runtime.ts";
import { isRoot, isWindows, test, testWithLinks } from "../support/test.ts";
import { waysToWrite } from "../support/ways.ts";

const NEW = content(2, 70_000);

// atomicUpdate() always creates the directory, because its lock needs it.
const ways = waysToWrite(NEW).filter(([what]) => what !== "atomicUpdate()");
const durabilities = ["none", "consistent", "durable"] as const;

for (const [what, write] of ways) {
  test(`${what} creates missing directories only with parents`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "a", "b", "c", "file");
      await assertRejects(() => Promise.resolve().then(() => write(file, {})), Error);
      await assertRejects(
        () => Promise.resolve().then(() => write(file, { parents: false })),
        Error,
      );
      assertEquals(list(dir), []);
      for (const createNew of [true, false]) {
        for (const durability of durabilities) {
          await write(file, { parents: true, createNew, durability });
          assertEquals(numberOf(fs.readFileSync(file)), 2);
          await write(file, { parents: true, durability });
          assertEquals(list(path.dirname(file)), ["file"]);
          fs.rmSync(path.join(dir, "a"), { recursive: true });
        }
      }
    }));

  test(
    `${what} with parents fails with ENOTDIR when a parent is a file`,
    () =>
      inTempDir(async (dir) => {
        fs.writeFileSync(path.join(dir, "a"), "old");
        const error = await assertRejects(
          () =>
            Promise.resolve().then(() =>
              write(path.join(dir, "a", "b", "file"), { parents: true })
            ),
          Error,
        );
        assertEquals((error as Error & { code?: string }).code, "ENOTDIR");
        assertEquals([list(dir), text(path.join(dir, "a"))], [["a"], "old"]);
      }),
  );

  test(
    `${what} with parents fails when a directory cannot be created although its parent exists`,
    async () => {
      // mkdir(2) fails with ENOENT in /proc, where Node's own `recursive` option loops forever.
      const error = await assertRejects(
        () => Promise.resolve().then(() => write("/proc/aperture/a/file", { parents: true })),
        Error,
      );
      assertEquals((error as Error & { code?: string }).code, "ENOENT");
    },
    { skip: process.platform !== "linux" && "/proc is missing" },
  );

  testWithLinks(
    `${what} with parents rejects a dangling link to a directory with EEXIST`,
    () =>
      inTempDir(async (dir) => {
        fs.symlinkSync("missing", path.join(dir, "link"));
        const file = path.join(dir, "link", "sub", "file");
        const error = await assertRejects(
          () => Promise.resolve().then(() => write(file, { parents: true })),
          Error,
        );
        assert(isAtomicWriteError(error));
        assertEquals([error.code, error.step], ["EEXIST", "mkdir"]);
        assert(error.message.includes("symbolic link to a directory that does not exist"));
        assertEquals(list(dir), ["link"]);
      }),
  );

  test(`${what} with parents makes one call for each missing directory, and none if all exist`, () =>
    inTempDir(async (dir) => {
      const directories = ["a", "a/b"].map((name) => path.join(dir, name));
      const made = async () => {
        const calls = await recorded(() =>
          write(path.join(dir, "a/b/file"), { parents: true, durability: "none" })
        );
        return calls.filter(({ name }) => name === "mkdir").map(({ args }) => args[0]);
      };
      assertEquals(await made(), directories);
      fs.rmSync(path.join(dir, "a/b/file"));
      assertEquals(await made(), []);
    }));

  test(
    `${what} with durability "durable" syncs every directory that it created`,
    () =>
      inTempDir(async (dir) => {
        fs.mkdirSync(path.join(dir, "there"));
        const made = ["there", "there/a", "there/a/b", "there/a/b/c"];
        const options = { parents: true, durability: "durable" } as const;
        const calls = await recorded(() => write(path.join(dir, `${made[3]}/file`), options));
        const synced = calls.filter(({ name }) => name === "openDir")
          .map(({ args: [path] }) => String(path)).sort();
        assertEquals(synced, made.map((name) => path.join(dir, name)));
        const again = await recorded(() => write(path.join(dir, `${made[3]}/file`), options));
        assertEquals(again.filter(({ name }) => name === "openDir").length, 1);
      }),
    { skip: isWindows && "directories cannot be synced on Windows" },
  );
}

test(
  'atomicUpdate() with durability "durable" syncs every directory that it created',
  () =>
    inTempDir(async (dir) => {
      const made = ["", "a", "a/b"].map((name) => path.join(dir, name));
      const calls = await recorded(() =>
        atomicUpdate(path.join(dir, "a/b/file"), () => "x", { durability: "durable" })
      );
      const synced = calls.filter(({ name }) => name === "openDir")
        .map(({ args: [path] }) => String(path));
      assertEquals([...new Set(synced)].sort(), made);
    }),
  { skip: isWindows && "directories cannot be synced on Windows" },
);

test(
  "a durable write syncs directories that an earlier call created and did not sync",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "a", "b", "file");
      const options = { parents: true, durability: "durable" } as const;
      const failing = intercepted(({ name }) => {
        if (name === "rename") throw systemError("EIO");
      }, () => assertRejects(() => atomicWrite(file, "x", options)));
      await failing;
      const calls = await recorded(() => atomicWrite(file, "x", options));
      const synced = calls.filter(({ name }) => name === "openDir").map(({ args: [path] }) => path);
      assertEquals(synced, [path.join(dir, "a", "b"), path.join(dir, "a"), dir]);
    }),
  { skip: isWindows && "directories cannot be synced on Windows" },
);

/** Returns an interceptor that makes only renames to `target` fail. */
function refuses(target: string, code: string): Interceptor {
  return ({ name, args }) => {
    if (name === "rename" && args[1] === target) throw systemError(code);
  };
}

const fallback = "in-place";
for (const [what, write] of ways) {
  for (const durability of durabilities) {
    test(
      `${what} copies in place when the target cannot be replaced by a rename, with durability "${durability}"`,
      () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, "file");
          // The old content is longer than the new content, shorter than it, or empty.
          for (const size of [200_000, 10, -8]) {
            for (const code of ["EBUSY", "EXDEV"]) {
              fs.writeFileSync(file, size < 0 ? "" : content(1, size));
              fs.chmodSync(file, 0o640);
              if (isRoot) fs.chownSync(file, 7, 8);
              const before = fs.statSync(file);
              const descriptors = openDescriptors(dir);
              await intercepted(refuses(file, code), () => write(file, { fallback, durability }));
              const { ino, mode, uid, gid } = fs.statSync(file);
              assertEquals([ino, mode, uid, gid], [
                before.ino,
                before.mode,
                before.uid,
                before.gid,
              ]);
              assertEquals([numberOf(fs.readFileSync(file)), list(dir)], [2, ["file"]]);
              assertEquals(openDescriptors(dir), descriptors);
            }
          }
        }),
      { skip: isWindows && "files are never copied in place on Windows" },
    );
  }

  test(
    `${what} does not copy in place without the option, or when the rename fails for another reason`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        const cases: [string, AtomicWriteOptions][] = [
          ["EBUSY", {}],
          ["EXDEV", {}],
          ["EIO", { fallback }],
          ["ENOSPC", { fallback }],
          ["EACCES", { fallback }],
          ["EPERM", { fallback }],
        ];
        for (const [code, options] of cases) {
          await intercepted(refuses(file, code), async () => {
            const error = await assertRejects(
              () => Promise.resolve().then(() => write(file, options)),
              Error,
            );
            assertEquals((error as Error & { code?: string }).code, code);
          });
          assertEquals([text(file), list(dir)], ["old", ["file"]]);
        }
      }),
    { skip: isWindows && "files are never copied in place on Windows" },
  );

  test(
    `${what} keeps the new content, and reports its path, when an in-place copy fails`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        const eio = systemError("EIO");
        const descriptors = openDescriptors(dir);
        await intercepted((call, index) => {
          refuses(file, "EBUSY")(call, index);
          if (call.name === "file.read") throw eio;
        }, async () => {
          const error = await assertRejects(() =>
            Promise.resolve().then(() => write(file, { fallback }))
          );
          assertStrictEquals(error, eio);
        });
        const { temp, target, replaced } = eio as Error & Record<string, unknown>;
        const [kept, ...others] = list(dir);
        assert(/^\.file\.[0-9a-f]{16}\.kept$/.test(kept!), kept);
        assertEquals([others, text(file)], [["file"], "old"]);
        assertEquals({ temp, target, replaced }, {
          temp: path.join(dir, kept!),
          target: file,
          replaced: false,
        });
        assertEquals(numberOf(fs.readFileSync(String(temp))), 2);
        // Only the caller may remove the kept file, so a sweep must ignore it.
        assert(!isTempName(kept!));
        assertEquals(await sweepTempFiles(dir, { olderThan: 0 }), []);
        assertEquals(openDescriptors(dir), descriptors);
      }),
    { skip: isWindows && "files are never copied in place on Windows" },
  );

  test(
    `${what} keeps the new content when an in-place copy is interrupted`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        for (const failing of ["file.write", "file.truncate", "file.sync", "file.close"]) {
          fs.writeFileSync(file, "old");
          const descriptors = openDescriptors(dir);
          const eio = systemError("EIO");
          let opened = false;
          await intercepted((call, index) => {
            refuses(file, "EBUSY")(call, index);
            const { name, args } = call;
            if (name === "openExisting" && args[0] === file && args[1] === "write") opened = true;
            else if (opened && name === failing) throw eio;
          }, async () => {
            const error = await assertRejects(() =>
              Promise.resolve().then(() => write(file, { fallback }))
            );
            assertStrictEquals(error, eio, failing);
          });
          const { temp } = eio as Error & { temp?: string };
          assert(temp !== undefined, failing);
          assertEquals(openDescriptors(dir), descriptors, failing);
          assertEquals(numberOf(fs.readFileSync(temp!)), 2);
          fs.rmSync(temp!);
          assertEquals(list(dir), ["file"]);
        }
      }),
    { skip: isWindows && "files are never copied in place on Windows" },
  );

  test(
    `${what} keeps nothing when the target cannot be opened for an in-place copy`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        const erofs = systemError("EROFS");
        const descriptors = openDescriptors(dir);
        await intercepted((call, index) => {
          refuses(file, "EBUSY")(call, index);
          if (call.name === "openExisting" && call.args[0] === file) throw erofs;
        }, async () => {
          const error = await assertRejects(() =>
            Promise.resolve().then(() => write(file, { fallback }))
          );
          assertStrictEquals(error, erofs);
        });
        const { step, temp, replaced } = erofs as Error & Record<string, unknown>;
        assertEquals({ step, temp, replaced }, {
          step: "open target",
          temp: undefined,
          replaced: false,
        });
        assertEquals([text(file), list(dir)], ["old", ["file"]]);
        assertEquals(openDescriptors(dir), descriptors);
      }),
    { skip: isWindows && "files are never copied in place on Windows" },
  );

  test(
    `${what} survives a failure of each call of an in-place copy`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        const options = { fallback, mode: 0o2640, durability: "none" } as const;
        const rights = () => fs.statSync(file).mode & 0o7777;
        const attempt = async (failing: number | undefined, error: Error) => {
          fs.writeFileSync(file, "old");
          fs.chmodSync(file, 0o2640);
          let refused: number | undefined;
          const calls = await intercepted((call, index) => {
            if (refused !== undefined && index - refused === failing) throw error;
            if (call.name === "rename" && call.args[1] === file) {
              refused = index;
              throw systemError("EBUSY");
            }
          }, () => Promise.resolve().then(() => write(file, options)).catch(() => {}));
          return calls.slice(refused! + 1).map(({ name }) => name);
        };
        const calls = await attempt(undefined, new Error());
        assertEquals([numberOf(fs.readFileSync(file)), rights(), list(dir)], [2, 0o2640, ["file"]]);
        const descriptors = openDescriptors(dir);
        let kept = 0;
        for (const [index, name] of calls.slice(0, -1).entries()) {
          const eio = systemError("EIO") as Error & { temp?: string; replaced?: boolean };
          const where = `${name}, ${index}`;
          await attempt(index + 1, eio);
          assertEquals(eio.replaced, false, where);
          assertEquals(openDescriptors(dir), descriptors, where);
          const names = list(dir);
          if (kept === 0 && names.length === 1) {
            assertEquals([text(file), rights(), eio.temp], ["old", 0o2640, undefined], where);
            continue;
          }
          kept++;
          assertEquals(names.length, 2, where);
          const whole = path.join(dir, names[0]!);
          assertEquals(eio.temp, whole, where);
          assertEquals(numberOf(fs.readFileSync(whole)), 2, where);
          fs.rmSync(whole);
        }
        assert(kept > 5 && kept < calls.length - 5, `${kept} of ${calls}`);
        // The copy is complete, so a failure to remove the temporary file is harmless.
        await attempt(calls.length, systemError("EIO"));
        assertEquals([numberOf(fs.readFileSync(file)), rights(), list(dir).length], [2, 0o2640, 2]);
      }),
    { skip: isWindows && "files are never copied in place on Windows" },
  );

  test(
    `${what} restores the set-id bits that an in-place copy clears`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        fs.chmodSync(file, 0o4755);
        await intercepted((call, index) => {
          refuses(file, "EBUSY")(call, index);
          // Clear the set-id bits, as the kernel does unless the process is root.
          if (call.name === "file.read") fs.chmodSync(file, 0o755);
        }, () => write(file, { fallback }));
        assertEquals(fs.statSync(file).mode & 0o7777, 0o4755);
        assertEquals([numberOf(fs.readFileSync(file)), list(dir)], [2, ["file"]]);
      }),
    { skip: isWindows && "Windows has no permission bits" },
  );

  test(
    `${what} copies nothing in place when the requested mode is not the file's`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        fs.chmodSync(file, 0o640);
        await intercepted(refuses(file, "EBUSY"), async () => {
          const error = await assertRejects(
            () => Promise.resolve().then(() => write(file, { fallback, mode: 0o600 })),
            Error,
          );
          assertEquals((error as Error & { code?: string }).code, "EBUSY");
          assert(error.message.includes("'chmod'"), error.message);
          assertEquals([text(file), fs.statSync(file).mode & 0o7777], ["old", 0o640]);
          await write(file, { fallback, mode: 0o640 });
        });
        assertEquals([numberOf(fs.readFileSync(file)), list(dir)], [2, ["file"]]);
        assertEquals(fs.statSync(file).mode & 0o7777, 0o640);
      }),
    { skip: isWindows && "files are never copied in place on Windows" },
  );

  test(
    `${what} fails with EIO when an in-place copy writes no bytes`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        let refused = false;
        let tries = 0;
        await intercepted((call, index) => {
          if (call.name === "rename" && call.args[1] === file) refused = true;
          refuses(file, "EBUSY")(call, index);
          if (!refused || call.name !== "file.write") return;
          // Stop a call that would otherwise retry forever.
          if (++tries > 10) throw systemError("ENOSPC");
          return [new Uint8Array()];
        }, async () => {
          const error = await assertRejects(() =>
            Promise.resolve().then(() => write(file, { fallback }))
          );
          assertEquals((error as Error & { code?: string }).code, "EIO");
        });
      }),
    { skip: isWindows && "files are never copied in place on Windows" },
  );

  testWithLinks(
    `${what} copies in place only to the file that it inspected`,
    () =>
      inTempDir(async (dir) => {
        const [file, victim] = [path.join(dir, "file"), path.join(dir, "victim")];
        for (const make of [fs.symlinkSync, fs.linkSync]) {
          fs.rmSync(file, { force: true });
          fs.writeFileSync(file, "old");
          fs.writeFileSync(victim, "precious");
          await intercepted((call, index) => {
            if (call.name === "openExisting" && call.args[0] === file) {
              fs.unlinkSync(file);
              make(victim, file);
            }
            refuses(file, "EBUSY")(call, index);
          }, async () => {
            const error = await assertRejects(() =>
              Promise.resolve().then(() => write(file, { fallback }))
            );
            assertEquals((error as Error & { temp?: string }).temp, undefined);
          });
          assertEquals([text(victim), list(dir)], ["precious", ["file", "victim"]]);
        }
      }),
  );

  test(
    `${what} does not copy in place on Windows, where EBUSY means that the file is open`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        // On Windows, renames over a read-only file are not retried, because they always fail.
        fs.chmodSync(file, 0o444);
        await onPlatform(() => ({ windows: true }), () =>
          intercepted(refuses(file, "EBUSY"), async () => {
            const error = await assertRejects(
              () =>
                Promise.resolve().then(() => write(file, { fallback })),
              Error,
            );
            assertEquals((error as Error & { code?: string }).code, "EBUSY");
          }));
        assertEquals([text(file), list(dir)], ["old", ["file"]]);
      }),
    { skip: isWindows && "renames are retried on Windows" },
  );

  test(`${what} rejects bad options before it touches the disk`, () =>
    inTempDir(async (dir) => {
      const bad: [unknown, typeof TypeError | typeof RangeError][] = [
        [{ fallback, createNew: true }, RangeError],
        [{ fallback: "copy" }, RangeError],
        [{ fallback: true }, TypeError],
        [{ parents: 1 }, TypeError],
      ];
      for (const [options, failure] of bad) {
        const made = await recorded(() =>
          assertRejects(
            () =>
              Promise.resolve().then(() =>
                write(path.join(dir, "file"), options as AtomicWriteOptions)
              ),
            failure,
          )
        );
        assertEquals([made, list(dir)], [[], []]);
      }
    }));
}
