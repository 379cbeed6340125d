/** The order of this process's calls on one path, for what is written. */
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import {
  AtomicFile,
  atomicUpdate,
  atomicUpdateSync,
  atomicWrite,
  type AtomicWriteOptions,
  atomicWriteSync,
  isAtomicWriteError,
  isTempName,
} from "../../mod.ts";
import { assertBlocks } from "../support/blocks.ts";
import { blobOf, content, numberOf } from "../support/content.ts";
import { inTempDir, list, openDescriptors, text } from "../support/dir.ts";
import { intercepted, recorded, type SeamCall, systemError } from "../support/runtime.ts";
import { mostTemps, temps, writes } from "../support/temps.ts";
import { isWindows, test, testWithLinks } from "../support/test.ts";
import { within } from "../support/within.ts";

/** Takes so long to write that a call behind it would be first if nothing kept it back. */
const slow = (number: number) => content(number, 3_000_000);
const quick = (number: number) => content(number, 10);
const numberIn = (file: string) => numberOf(fs.readFileSync(file));

/** `"ok"`, or the code of the error, of each call. */
async function outcomes(calls: Promise<unknown>[]): Promise<string[]> {
  return (await Promise.allSettled(calls)).map((result) =>
    result.status === "fulfilled" ? "ok" : result.reason.code ?? result.reason.name
  );
}

/** A call that is awaited later, if nothing fails before. */
function begun<T>(call: Promise<T>): Promise<T> {
  call.catch(() => {});
  return call;
}

/** A stream that ends when told to. */
function held(text: string): { source: AsyncIterable<string>; finish: () => void } {
  let finish!: () => void;
  const told = new Promise<void>((resolve) => finish = resolve);
  return {
    finish,
    source: (async function* () {
      yield text;
      await told;
    })(),
  };
}

const spellings: [string, (dir: string) => string][] = [
  ["/d/./f", (dir) => `${dir}/./file`],
  ["/d//f", (dir) => `${dir}//file`],
  ["/d/sub/../f", (dir) => `${dir}/sub/../file`],
];
for (const [what, spell] of spellings) {
  test(`atomicWrite() keeps the order of calls on /d/f and ${what}`, () =>
    inTempDir(async (dir) => {
      fs.mkdirSync(path.join(dir, "sub"));
      const file = path.join(dir, "file");
      await Promise.all([atomicWrite(file, slow(1)), atomicWrite(spell(dir), quick(2))]);
      assertEquals(numberIn(file), 2);
      await Promise.all([atomicWrite(spell(dir), slow(3)), atomicWrite(file, quick(4))]);
      assertEquals(numberIn(file), 4);
      assertEquals(list(dir), ["file", "sub"]);
    }));
}

const creations: [string, (AtomicWriteOptions | undefined)[], string[], number][] = [
  ["before a plain call", [{ createNew: true }, {}], ["ok", "ok"], 2],
  ["after a plain call", [{}, { createNew: true }], ["ok", "EEXIST"], 1],
  ["twice", [{ createNew: true }, { createNew: true }], ["ok", "EEXIST"], 1],
  ["between plain calls", [{}, { createNew: true }, {}], ["ok", "EEXIST", "ok"], 3],
  ["around a plain call", [{ createNew: true }, {}, { createNew: true }], [
    "ok",
    "ok",
    "EEXIST",
  ], 2],
];
for (const [what, calls, expected, last] of creations) {
  for (const mode of [undefined, 0o600]) {
    const title = `${what}${mode === undefined ? "" : ", an explicit mode given"}`;
    test(`atomicWrite() with createNew sees what is there at its turn: ${title}`, () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        const made = calls.map((options, i) =>
          atomicWrite(file, i === 0 ? slow(1) : quick(i + 1), { ...options, ...mode && { mode } })
        );
        assertEquals(await outcomes(made), expected);
        assertEquals([numberIn(file), list(dir)], [last, ["file"]]);
      }));
  }
}

test("atomicWrite() with createNew writes what a call that failed did not", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await intercepted((call) => {
      if (writes(call, "bad")) throw systemError("EIO");
    }, async () => {
      const calls = [atomicWrite(file, "bad"), atomicWrite(file, "good", { createNew: true })];
      assertEquals(await outcomes(calls), ["EIO", "ok"]);
    });
    assertEquals([text(file), list(dir)], ["good", ["file"]]);
  }));

testWithLinks(
  "atomicWrite() follows a link, then replaces it, in the order of the calls",
  () =>
    inTempDir(async (dir) => {
      const link = path.join(dir, "link");
      fs.symlinkSync("target", link);
      await Promise.all([
        atomicWrite(link, slow(1)),
        atomicWrite(link, quick(2), { symlinks: "replace" }),
      ]);
      assert(fs.lstatSync(link).isFile());
      assertEquals([numberIn(path.join(dir, "target")), numberIn(link)], [1, 2]);
      assertEquals(list(dir), ["link", "target"]);
    }),
);

testWithLinks(
  "atomicWrite() replaces a link, then writes the file in its place",
  () =>
    inTempDir(async (dir) => {
      const link = path.join(dir, "link");
      fs.writeFileSync(path.join(dir, "target"), "old");
      fs.symlinkSync("target", link);
      await Promise.all([
        atomicWrite(link, slow(1), { symlinks: "replace" }),
        atomicWrite(link, quick(2)),
      ]);
      assert(fs.lstatSync(link).isFile());
      assertEquals([text(path.join(dir, "target")), numberIn(link)], ["old", 2]);
    }),
);

testWithLinks(
  "atomicWrite() follows a link that is re-pointed between two calls each time",
  () =>
    inTempDir(async (dir) => {
      const link = path.join(dir, "link");
      for (const name of ["one", "two"]) fs.writeFileSync(path.join(dir, name), "old");
      fs.symlinkSync("one", link);
      let second: Promise<void> | undefined;
      await intercepted(({ name }) => {
        if (name !== "create" || second !== undefined) return;
        fs.unlinkSync(link);
        fs.symlinkSync("two", link);
        second = begun(atomicWrite(link, quick(2)));
      }, async () => {
        await atomicWrite(link, new Uint8Array(60 << 20));
        await second;
      });
      assertEquals(fs.statSync(path.join(dir, "one")).size, 60 << 20);
      assertEquals(numberIn(path.join(dir, "two")), 2);
      assertEquals(fs.readlinkSync(link), "two");
    }),
);

test(
  "atomicWrite() keeps the order of calls of the ESM and the CommonJS copy of the module",
  () =>
    inTempDir(async (dir) => {
      const { atomicWrite: other, atomicWriteSync: otherSync } = createRequire(import.meta.url)(
        "../../../script/mod.js",
      );
      const file = path.join(dir, "file");
      for (let i = 0; i < 10; i += 2) {
        await Promise.all([atomicWrite(file, slow(i)), other(file, quick(i + 1))]);
        assertEquals(numberIn(file), i + 1);
        await Promise.all([other(file, slow(i)), atomicWrite(file, quick(i + 1))]);
        assertEquals(numberIn(file), i + 1);
      }
      const first = begun(atomicWrite(file, slow(20)));
      otherSync(file, quick(21));
      assertEquals(numberIn(file), 21);
      await first;
      assertEquals([numberIn(file), list(dir)], [21, ["file"]]);
    }),
  { skip: !import.meta.url.includes("/esm/tests/") && "runs on the built ES modules" },
);

test("atomicUpdate() calls on one path are served in the order of the calls", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const decoder = new TextDecoder();
    for (let round = 0; round < 3; round++) {
      fs.rmSync(file, { force: true });
      await Promise.all(
        Array.from(
          { length: 50 },
          (_, i) =>
            atomicUpdate(file, (bytes) => `${bytes === null ? "" : decoder.decode(bytes)}${i} `, {
              durability: "none",
            }),
        ),
      );
      assertEquals(text(file), Array.from({ length: 50 }, (_, i) => `${i} `).join(""));
    }
  }));

test("atomicWrite() keeps the mode that the call before it set", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (let i = 0; i < 20; i++) {
      await Promise.all([
        atomicWrite(file, "a", { mode: 0o600, durability: "none" }),
        atomicWrite(file, "b", { durability: "none" }),
      ]);
      assertEquals([text(file), fs.statSync(file).mode & 0o777], ["b", 0o600]);
      fs.rmSync(file);
      const first = begun(atomicWrite(file, "a", { mode: 0o600 }));
      atomicWriteSync(file, "b");
      assertEquals([text(file), fs.statSync(file).mode & 0o777], ["b", 0o600]);
      await first;
      assertEquals([text(file), fs.statSync(file).mode & 0o777], ["b", 0o600]);
      fs.rmSync(file);
    }
  }), { skip: isWindows && "no modes on Windows" });

for (const durability of ["none", "consistent"] as const) {
  test(`1,000 calls that are not awaited have one temporary file at a time, with durability "${durability}"`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      let calls: SeamCall[] = [];
      const most = await mostTemps(dir, async () => {
        calls = await recorded(() =>
          Promise.all(
            Array.from({ length: 1_000 }, (_, i) =>
              atomicWrite(file, content(i, 50), { durability })),
          )
        );
      });
      assertEquals([most, numberIn(file), list(dir)], [1, 999, ["file"]]);
      const renames = calls.filter(({ name }) => name === "rename").length;
      assert(renames <= 4, `${renames} writes`);
    }));
}

test("1,000 calls that are not awaited open one descriptor at a time", () =>
  inTempDir(async (dir) => {
    let most = 0;
    await intercepted(
      () => {
        most = Math.max(most, openDescriptors(dir));
      },
      () =>
        Promise.all(
          Array.from({ length: 1_000 }, (_, i) => atomicWrite(path.join(dir, "file"), `${i}`)),
        ),
    );
    assert(most <= 2, `${most}`);
  }));

test("atomicWrite() writes the newest of equal calls that wait, and settles all with it", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const order: number[] = [];
    const calls = await recorded(() =>
      Promise.all(
        [slow(0), quick(1), quick(2), quick(3)].map((data, i) =>
          atomicWrite(file, data).then(() => {
            order.push(i);
            assertEquals(numberIn(file), i === 0 ? 0 : 3);
          })
        ),
      )
    );
    assertEquals(order, [0, 1, 2, 3]);
    assertEquals(calls.filter(({ name }) => name === "rename").length, 2);
  }));

test("atomicWrite() rejects only the newest when it fails, and tries the next newest", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await intercepted((call) => {
      if (writes(call, "bad")) throw systemError("ENOSPC");
    }, async () => {
      const calls = ["first", "one", "two", "bad", "bad"].map((data) => atomicWrite(file, data));
      assertEquals(await outcomes(calls), ["ok", "ok", "ok", "ENOSPC", "ENOSPC"]);
    });
    assertEquals([text(file), list(dir)], ["two", ["file"]]);
  }));

test("atomicWrite() writes each of the calls that wait with different options", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const calls = await recorded(() =>
      Promise.all(
        [0o600, 0o640, 0o600, 0o640].map((mode, i) =>
          atomicWrite(file, String(i), { mode, durability: "none" })
        ),
      )
    );
    assertEquals(calls.filter(({ name }) => name === "rename").length, 4);
    assertEquals([text(file), list(dir)], ["3", ["file"]]);
  }));

test("atomicWrite() gives up one of the calls that wait when its signal is aborted, and no other", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const controller = new AbortController();
    const reason = new Error("enough");
    const first = begun(atomicWrite(file, slow(1)));
    const second = begun(atomicWrite(file, quick(2)));
    const third = begun(atomicWrite(file, quick(3), { signal: controller.signal }));
    let landed = false;
    first.then(() => landed = true);
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => third), reason);
    assert(!landed, "The call waited for its turn to be given up");
    await Promise.all([first, second]);
    assertEquals([numberIn(file), list(dir)], [2, ["file"]]);
  }));

test("a stream takes effect when it has ended", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const { source, finish } = held("stream");
    const first = begun(atomicWrite(file, source));
    await atomicWrite(file, "bytes");
    assertEquals(text(file), "bytes");
    finish();
    await first;
    assertEquals([text(file), list(dir)], ["stream", ["file"]]);
  }));

test("an AtomicFile takes effect when it is committed", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    await using file = await AtomicFile.open(target);
    await file.write("draft");
    await atomicWrite(target, "bytes");
    atomicWriteSync(target, "sync");
    assertEquals(text(target), "sync");
    await file.commit();
    assertEquals([text(target), list(dir)], ["draft", ["file"]]);
  }));

test("an AtomicFile with createNew fails for what was written while it was open", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    const file = await AtomicFile.open(target, { createNew: true });
    await file.write("draft");
    await atomicWrite(target, "bytes");
    const error = await assertRejects(() => file.commit(), Error);
    assertEquals((error as Error & { code?: string }).code, "EEXIST");
    assertEquals([text(target), list(dir)], ["bytes", ["file"]]);
  }));

test("atomicUpdate() reads what the calls before it write", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (let round = 0; round < 10; round++) {
      let seen = -1;
      await Promise.all([
        atomicWrite(file, content(round, 500_000)),
        atomicUpdate(file, (bytes) => {
          seen = numberOf(bytes!);
          return null;
        }),
      ]);
      assertEquals(seen, round);
      fs.rmSync(file);
    }
  }));

testWithLinks(
  "atomicUpdate() through a link has its turn among the calls on the link",
  () =>
    inTempDir(async (dir) => {
      const link = path.join(dir, "link");
      fs.writeFileSync(path.join(dir, "target"), "old");
      fs.chmodSync(path.join(dir, "target"), 0o644);
      fs.symlinkSync("target", link);
      let later: Promise<void> | undefined;
      await intercepted(({ name, args }) => {
        // The update has looked at the target.
        if (name !== "create" || later !== undefined) return;
        if (!isTempName(path.basename(String(args[0])))) return;
        later = begun(atomicWrite(link, "later", { mode: 0o600 }));
      }, async () => {
        await atomicUpdate(link, () => new Uint8Array(60 << 20));
        await later;
      });
      assertEquals([fs.statSync(link).size, list(dir)], ["later".length, ["link", "target"]]);
      if (!isWindows) assertEquals(fs.statSync(link).mode & 0o777, 0o600);
    }),
);

test("atomicUpdate() lets its function write the file", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await atomicUpdate(file, async () => {
      await atomicWrite(file, "inner");
      assertEquals(text(file), "inner");
      atomicWriteSync(file, "sync");
      assertEquals(text(file), "sync");
      return "outer";
    });
    assertEquals(text(file), "outer");
  }));

test("atomicWriteSync() carries out what waits before it, in order", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const descriptors = openDescriptors(dir);
    const waiting = [
      atomicWrite(file, slow(1), { createNew: true }),
      atomicWrite(file, quick(2), { mode: 0o600 }),
      atomicWrite(file, quick(3), { createNew: true }),
    ];
    const settled = outcomes(waiting);
    const error = assertThrows(() => atomicWriteSync(file, quick(4), { createNew: true }), Error);
    assertEquals((error as Error & { code?: string }).code, "EEXIST");
    assertEquals(numberIn(file), 2);
    atomicWriteSync(file, quick(5));
    assertEquals(numberIn(file), 5);
    assertEquals(await settled, ["ok", "ok", "EEXIST"]);
    assertEquals([numberIn(file), list(dir)], [5, ["file"]]);
    if (!isWindows) assertEquals(fs.statSync(file).mode & 0o777, 0o600);
    assertEquals(openDescriptors(dir), descriptors);
  }));

test("atomicWriteSync() leaves each failure to its own call", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await intercepted((call) => {
      if (writes(call, "bad")) throw systemError("EIO");
    }, async () => {
      const waiting = [
        atomicWrite(file, "bad 1"),
        atomicWrite(file, "good 1", { mode: 0o600 }),
        atomicWrite(file, "bad 2"),
      ];
      const settled = outcomes(waiting);
      atomicWriteSync(file, "sync");
      assertEquals(text(file), "sync");
      assertEquals(await settled, ["EIO", "ok", "EIO"]);

      const before = begun(atomicWrite(file, "good 2"));
      const error = assertThrows(() => atomicWriteSync(file, "bad 3"), Error);
      assertEquals((error as Error & { code?: string }).code, "EIO");
      assertEquals(text(file), "good 2");
      await before;
    });
    assertEquals([text(file), list(dir)], ["good 2", ["file"]]);
  }));

/**
 * Calls `write`, and `sync` in the midst of it: before its call number `at`, or when that has been
 * made and is under way. Returns how many there were.
 */
async function during(
  at: number,
  isMade: boolean,
  write: () => Promise<unknown>,
  sync: () => void,
): Promise<number> {
  let index = 0;
  let done: Promise<void> | undefined;
  const calls = await intercepted(({ form }) => {
    if (form !== "async" || index++ !== at) return;
    if (isMade) done = begun(Promise.resolve().then(sync));
    else sync();
  }, async () => {
    await write();
    await done;
  });
  return calls.filter(({ form }) => form === "async").length;
}

for (const isMade of [false, true]) {
  const when = isMade ? "during" : "before";
  for (const createNew of [false, true]) {
    for (const durability of ["none", "consistent", "durable"] as const) {
      const what = `${createNew ? "createNew" : "replacing"}, with durability "${durability}"`;
      test(`atomicWriteSync() takes a call over ${when} each of its steps: ${what}`, () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, "file");
          const descriptors = openDescriptors(dir);
          let landed = "";
          const takeOver = (at: number) =>
            during(
              at,
              isMade,
              () => atomicWrite(file, "async", { createNew, durability }),
              () => {
                atomicWriteSync(file, "sync", { durability });
                landed = text(file);
              },
            );
          const count = await takeOver(-1);
          assert(count > 1);
          for (let at = 0; at < count; at++) {
            fs.rmSync(file);
            await takeOver(at);
            assertEquals([landed, text(file), list(dir)], ["sync", "sync", ["file"]], `call ${at}`);
            assertEquals(openDescriptors(dir), descriptors, `call ${at}`);
          }
        }));
    }
  }

  test(`atomicWriteSync() takes no failure for a success ${when} each step of a call`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const commit = async () => {
        const opened = await AtomicFile.open(file);
        await opened.write("async");
        await opened.commit();
      };
      const calls: [old: boolean, write: () => Promise<void>][] = [
        [true, () => atomicWrite(file, "async")],
        [false, () => atomicWrite(file, "async", { createNew: true })],
        [true, commit],
      ];
      for (const [old, write] of calls) {
        let outcome: string[] = [];
        const takeOver = (at: number) => {
          fs.rmSync(file, { force: true });
          if (old) fs.writeFileSync(file, "old");
          return during(at, isMade, () =>
            intercepted(({ name, args }) => {
              if ((name !== "rename" && name !== "link") || args[1] !== file) return;
              if (text(String(args[0])) === "async") throw systemError("EIO");
            }, async () => {
              outcome = await outcomes([write()]);
            }), () => atomicWriteSync(file, "sync"));
        };
        const count = await takeOver(-1);
        for (let at = 0; at < count; at++) {
          await takeOver(at);
          assertEquals([outcome, text(file), list(dir)], [["EIO"], "sync", ["file"]], `call ${at}`);
        }
      }
    }));

  test(`atomicWriteSync() takes a commit over ${when} each of its steps`, () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      const descriptors = openDescriptors(dir);
      let landed = "";
      const takeOver = (at: number) => {
        fs.writeFileSync(target, "old");
        fs.chmodSync(target, 0o644);
        return during(at, isMade, async () => {
          const file = await AtomicFile.open(target);
          await file.write("draft");
          // The temporary file is opened once more, to have it too.
          fs.chmodSync(target, 0o600);
          await file.commit();
        }, () => {
          atomicWriteSync(target, "sync");
          landed = text(target);
        });
      };
      const count = await takeOver(-1);
      assert(count > 1);
      for (let at = 0; at < count; at++) {
        await takeOver(at);
        assertEquals([landed, list(dir)], ["sync", ["file"]], `call ${at}`);
        // A commit that has not joined the queue by then comes later.
        assert(["draft", "sync"].includes(text(target)));
        assertEquals(openDescriptors(dir), descriptors, `call ${at}`);
      }
    }));
}

for (const createNew of [false, true]) {
  const how = createNew ? "with createNew" : "that replaces";
  test(`a call ${how} whose temporary file somebody removes is begun anew by a synchronous call`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      if (!createNew) fs.writeFileSync(file, "old");
      const seen: string[] = [];
      await intercepted(({ name, args, form }) => {
        if (form !== "async" || (name !== "rename" && name !== "link")) return;
        fs.rmSync(String(args[0]));
        atomicUpdateSync(file, (bytes) => {
          seen.push(new TextDecoder().decode(bytes!));
          return null;
        });
      }, () => atomicWrite(file, "async", { createNew }));
      assertEquals([seen, text(file), list(dir)], [["async"], "async", ["file"]]);
    }));
}

test(
  "a commit that is taken over before its rename is not opened again for what it has already",
  () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      fs.writeFileSync(target, "old");
      let opened = 0;
      await intercepted(({ name, form }) => {
        if (name === "openExisting") opened++;
        if (form === "async" && name === "rename") atomicUpdateSync(target, (bytes) => bytes);
      }, async () => {
        const file = await AtomicFile.open(target);
        await file.write("draft");
        await file.commit();
      });
      assertEquals([text(target), opened, list(dir)], ["draft", 0, ["file"]]);
    }),
  { skip: isWindows && "no modes on Windows" },
);

test("a commit whose temporary file somebody removes fails beside a synchronous call too", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    fs.writeFileSync(target, "old");
    let outcome: string[] = [];
    await intercepted(({ name, args, form }) => {
      if (form !== "async" || name !== "rename") return;
      fs.rmSync(String(args[0]));
      atomicWriteSync(target, "sync");
    }, async () => {
      const file = await AtomicFile.open(target);
      await file.write("draft");
      outcome = await outcomes([file.commit()]);
    });
    assertEquals([outcome, text(target), list(dir)], [["ENOENT"], "sync", ["file"]]);
  }));

test("atomicWriteSync() takes a call over at whatever moment it is", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (let round = 0; round < 200; round++) {
      const options = { createNew: round % 2 === 0, durability: "none" } as const;
      if (options.createNew) fs.rmSync(file, { force: true });
      const size = round % 3 === 0 ? 100_000 : 10;
      const first = begun(atomicWrite(file, content(1, size), options));
      for (let i = 0; i < round % 8; i++) await new Promise((resolve) => setImmediate(resolve));
      atomicWriteSync(file, quick(2));
      assertEquals(numberIn(file), 2);
      await first;
      assertEquals([numberIn(file), list(dir)], [2, ["file"]]);
    }
  }));

test("atomicWriteSync() takes the place of a Blob that waits with equal options", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const blobs = [begun(atomicWrite(file, blobOf("1"))), begun(atomicWrite(file, blobOf("2")))];
    atomicWriteSync(file, "3");
    assertEquals(text(file), "3");
    await Promise.all(blobs);
    assertEquals([text(file), list(dir)], ["3", ["file"]]);
  }));

test("atomicWriteSync() takes the place of a Blob that stalls, and leaves nothing of it", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const arrayBuffer = () => new Promise<never>(() => {});
    const write = begun(atomicWrite(file, Object.assign(blobOf("1"), { arrayBuffer })));
    while (temps(dir).length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    atomicWriteSync(file, "2");
    await within(write);
    assertEquals([text(file), list(dir)], ["2", ["file"]]);
  }));

const besideBlobs: [string, AtomicWriteOptions][] = [
  ["with another durability", { durability: "durable" }],
  ["with another mode", { mode: 0o600 }],
];
for (const [what, options] of besideBlobs) {
  test(`atomicWriteSync() does not take the place of a Blob ${what}`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const blob = begun(atomicWrite(file, blobOf("blob"), options));
      const error = assertThrows(() => atomicWriteSync(file, "x"));
      assert(isAtomicWriteError(error));
      assertEquals([error.code, error.step, error.target], ["EBUSY", "take over", file]);
      await blob;
      assertEquals([text(file), list(dir)], ["blob", ["file"]]);
    }));
}

test("a synchronous call lets nothing overtake a Blob that it cannot write", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "old");
    const blob = begun(atomicWrite(file, blobOf("blob")));
    const update = begun(atomicUpdate(file, (bytes) => `${new TextDecoder().decode(bytes!)}+`));
    const write = begun(atomicWrite(file, "new", { durability: "none" }));
    assertThrows(() => atomicWriteSync(file, "x", { createNew: true }));
    assertThrows(() => atomicWriteSync(file, "x"));
    await Promise.all([blob, write]);
    assertEquals(text(file), "new");
    await update;
    assertEquals(text(file), "new+");
  }));

test("a write of a Blob that is begun anew leaves nothing of the first time", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    let [reads, release] = [0, () => {}];
    const read = new Promise<void>((resolve) => release = resolve);
    const blob = Object.assign(blobOf("blob"), {
      async arrayBuffer() {
        if (++reads === 1) await read;
        return new TextEncoder().encode("blob").buffer;
      },
    });
    const write = begun(atomicWrite(file, blob));
    while (reads === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    assertThrows(() => atomicWriteSync(file, "x", { createNew: true }));
    await within(write);
    assertEquals([text(file), list(dir), reads], ["blob", ["file"], 2]);
    // What comes of the first time is not wanted any more.
    release();
    await new Promise((resolve) => setTimeout(resolve, 1));
    assertEquals([text(file), list(dir)], ["blob", ["file"]]);
  }));

test("at most 64 writes of data in memory are under way at once", () =>
  inTempDir(async (dir) => {
    const most = await mostTemps(dir, () =>
      Promise.all(Array.from({ length: 300 }, (_, i) =>
        atomicWrite(path.join(dir, `${i}`), `${i}`))));
    assert(most <= 64, `${most}`);
    assertEquals(list(dir).length, 300);
    for (let i = 0; i < 300; i++) {
      assertEquals(text(path.join(dir, `${i}`)), `${i}`);
    }
  }));

test("AtomicFiles and streams that are open keep no write of data in memory waiting", () =>
  inTempDir(async (dir) => {
    const files = await Promise.all(
      Array.from({ length: 80 }, (_, i) => AtomicFile.open(path.join(dir, `${i}`))),
    );
    const { source, finish } = held("x");
    const stream = begun(atomicWrite(path.join(dir, "stream"), source));
    await Promise.all(
      Array.from({ length: 70 }, (_, i) => atomicWrite(path.join(dir, `${i}`), "bytes")),
    );
    await Promise.all(files.map((file) => file.commit()));
    await assertBlocks(stream, finish);
    assertEquals([list(dir).length, temps(dir)], [81, []]);
  }));

test("a signal ends the wait for one of the 64 places", () =>
  inTempDir(async (dir) => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const others = Array.from({ length: 100 }, (_, i) =>
      begun(atomicWrite(path.join(dir, `${i}`), content(i, 100_000))));
    const { signal } = controller;
    const last = begun(atomicWrite(path.join(dir, "last"), "x", { signal }));
    let done = 0;
    for (const other of others) {
      other.then(() =>
        done++
      );
    }
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => last), reason);
    assert(done < 100);
    await Promise.all(others);
    assert(!fs.existsSync(path.join(dir, "last")));
  }));

for (const isMade of [false, true]) {
  const when = isMade ? "during" : "before";
  test(`a call that is aborted and taken over ${when} each of its steps leaves nothing`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const descriptors = openDescriptors(dir);
      const write = async (createNew: boolean, signal: AbortSignal) => {
        await outcomes([atomicWrite(file, "async", { createNew, signal })]);
      };
      const commit = async (createNew: boolean, signal: AbortSignal) => {
        const opened = await AtomicFile.open(file, { createNew, signal }).catch(() => undefined);
        if (opened !== undefined) await outcomes([opened.write("async"), opened.commit()]);
      };
      for (const begin of [write, commit]) {
        for (const createNew of [false, true]) {
          const takeOver = (at: number) => {
            fs.rmSync(file, { force: true });
            const controller = new AbortController();
            return during(at, isMade, () => begin(createNew, controller.signal), () => {
              controller.abort();
              atomicWriteSync(file, "sync");
            });
          };
          const count = await takeOver(-1);
          for (let at = 0; at < count; at++) {
            await takeOver(at);
            assertEquals([text(file), list(dir)], ["sync", ["file"]], `call ${at}`);
            assertEquals(openDescriptors(dir), descriptors, `call ${at}`);
          }
        }
      }
    }));
}

test("a call that is aborted already does not wait for those before it", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    let goOn = () => {};
    const bytes = new Promise<ArrayBuffer>((resolve) => goOn = () => resolve(new ArrayBuffer(13)));
    const first = atomicWrite(
      file,
      Object.assign(blobOf(content(1, 5)), { arrayBuffer: () => bytes }),
    );
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    const late = within(atomicWrite(file, "late", { signal }));
    assertStrictEquals(await assertRejects(() => late), reason);
    goOn();
    await first;
    assertEquals(fs.readFileSync(file).byteLength, 13);
  }));
