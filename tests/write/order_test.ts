/** The order in which calls for the same path take effect. */
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import {
  AtomicFile,
  atomicUpdate,
  atomicWrite,
  type AtomicWriteOptions,
  atomicWriteSync,
  isTempName,
} from "../../mod.ts";
import { begun, held, numberIn, outcomes, quick, slow } from "./calls.ts";
import { blobOf, content, numberOf } from "../support/content.ts";
import { inTempDir, list, openDescriptors, text } from "../support/dir.ts";
import { intercepted, recorded, type SeamCall, systemError } from "../support/runtime.ts";
import { mostTemps, writes } from "../support/temps.ts";
import { isWindows, test, testWithLinks } from "../support/test.ts";
import { within } from "../support/within.ts";

const spellings: [string, (dir: string) => string][] = [
  ["/d/./f", (dir) => `${dir}/./file`],
  ["/d//f", (dir) => `${dir}//file`],
  ["/d/sub/../f", (dir) => `${dir}/sub/../file`],
];
for (const [what, spell] of spellings) {
  test(`atomicWrite() keeps the order of calls for /d/f and ${what}`, () =>
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
    const title = `${what}${mode === undefined ? "" : ", with an explicit mode"}`;
    test(`atomicWrite() with createNew checks what is at the path when its turn comes: ${title}`, () =>
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

test("atomicWrite() with createNew succeeds when the previous call failed", () =>
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
  "atomicWrite() follows a link to its current target when the link is changed between two calls",
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
        await atomicWrite(link, new Uint8Array(20 << 20));
        await second;
      });
      assertEquals(fs.statSync(path.join(dir, "one")).size, 20 << 20);
      assertEquals(numberIn(path.join(dir, "two")), 2);
      assertEquals(fs.readlinkSync(link), "two");
    }),
);

test(
  "atomicWrite() keeps the order of calls to the ESM and CommonJS copies of the module",
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

test("atomicUpdate() runs calls for the same path in call order", () =>
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

test("atomicWrite() keeps the mode that the previous call set", () =>
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
  }), { skip: isWindows && "Windows has no permission bits" });

for (const durability of ["none", "consistent"] as const) {
  test(`atomicWrite() has at most one temporary file for 1,000 concurrent calls with durability "${durability}"`, () =>
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

test("atomicWrite() opens one descriptor at a time for 1,000 concurrent calls for the same path", () =>
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

test("atomicWrite() writes only the newest of equal waiting calls, and resolves them all", () =>
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

test("atomicWrite() rejects only the newest of equal calls when it fails, and writes the next newest", () =>
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

test("atomicWrite() writes each of the waiting calls when their options differ", () =>
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

test("atomicWrite() rejects only the waiting call whose signal is aborted", () =>
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
    assert(!landed, "The call waited for its turn before it rejected");
    await Promise.all([first, second]);
    assertEquals([numberIn(file), list(dir)], [2, ["file"]]);
  }));

test("atomicWrite() of a stream takes effect when the stream ends", () =>
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

test("AtomicFile takes effect when it is committed", () =>
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

test("AtomicFile.commit() with createNew fails when the target was written while the AtomicFile was open", () =>
  inTempDir(async (dir) => {
    const target = path.join(dir, "file");
    const file = await AtomicFile.open(target, { createNew: true });
    await file.write("draft");
    await atomicWrite(target, "bytes");
    const error = await assertRejects(() => file.commit(), Error);
    assertEquals((error as Error & { code?: string }).code, "EEXIST");
    assertEquals([text(target), list(dir)], ["bytes", ["file"]]);
  }));

test("atomicUpdate() reads what earlier calls write", () =>
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
  "atomicUpdate() through a link waits in the queue of the link's path",
  () =>
    inTempDir(async (dir) => {
      const link = path.join(dir, "link");
      fs.writeFileSync(path.join(dir, "target"), "old");
      fs.chmodSync(path.join(dir, "target"), 0o644);
      fs.symlinkSync("target", link);
      let later: Promise<void> | undefined;
      await intercepted(({ name, args }) => {
        // At this point, the update has inspected the target.
        if (name !== "create" || later !== undefined) return;
        if (!isTempName(path.basename(String(args[0])))) return;
        later = begun(atomicWrite(link, "later", { mode: 0o600 }));
      }, async () => {
        await atomicUpdate(link, () => new Uint8Array(20 << 20));
        await later;
      });
      assertEquals([fs.statSync(link).size, list(dir)], ["later".length, ["link", "target"]]);
      if (!isWindows) assertEquals(fs.statSync(link).mode & 0o777, 0o600);
    }),
);

test("atomicUpdate() calls its function again when the function wrote the file", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const seen: (string | null)[] = [];
    await atomicUpdate(file, async (bytes) => {
      seen.push(bytes && new TextDecoder().decode(bytes));
      if (bytes !== null) return "outer";
      await atomicWrite(file, "inner");
      atomicWriteSync(file, "sync");
      assertEquals(text(file), "sync");
      return "outer";
    });
    assertEquals([seen, text(file)], [[null, "sync"], "outer"]);
  }));

test("atomicWrite() with an aborted signal does not wait for earlier calls", () =>
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
