import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { Readable } from "node:stream";
import {
  atomicUpdate,
  atomicUpdateSync,
  atomicWrite,
  atomicWriteSync,
  DirLock,
} from "../../mod.ts";
import { blobOf } from "../support/content.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { isWindows, linksWork, test } from "../support/test.ts";

type Stale = Error & { code?: string; tries?: number };

const decode = (bytes: Uint8Array | null) => bytes && new TextDecoder().decode(bytes);

/** Both forms of the call, with the synchronous form wrapped in a promise. */
const FORMS: {
  form: string;
  update: (...args: Parameters<typeof atomicUpdateSync>) => Promise<void>;
}[] = [
  { form: "atomicUpdate()", update: (...args) => atomicUpdate(...args) },
  {
    form: "atomicUpdateSync()",
    update: (...args) => Promise.resolve().then(() => atomicUpdateSync(...args)),
  },
];

/**
 * What another writer does while the update's function runs, and the file's content afterwards. The
 * file initially contains "old" unless `before` says otherwise.
 */
const CHANGES: {
  what: string;
  change: (file: string) => void;
  after: string | null;
  before?: string | null;
  options?: (file: string) => Parameters<typeof atomicUpdateSync>[2];
  needsLinks?: true;
}[] = [
  { what: "appends to the file", change: (file) => fs.appendFileSync(file, "er"), after: "older" },
  {
    what: "writes as many bytes in place",
    change: (file) => fs.writeFileSync(file, "new"),
    after: "new",
  },
  {
    what: "renames another file over it",
    change: (file) => {
      fs.writeFileSync(`${file}.new`, "new");
      fs.renameSync(`${file}.new`, file);
    },
    after: "new",
  },
  {
    what: "creates the file",
    before: null,
    change: (file) => fs.writeFileSync(file, "new"),
    after: "new",
  },
  { what: "deletes the file", change: (file) => fs.unlinkSync(file), after: null },
  {
    what: "calls atomicWriteSync() in this process",
    change: (file) => atomicWriteSync(file, "new"),
    after: "new",
  },
  {
    what: "edits the target of a link that the update replaces",
    before: null,
    change: (file) => fs.writeFileSync(`${file}.target`, "new"),
    after: "new",
    options: (file) => {
      fs.writeFileSync(`${file}.target`, "old");
      fs.symlinkSync(`${file}.target`, file);
      return { symlinks: "replace" };
    },
    needsLinks: true,
  },
  {
    what: "changes the file under a held lock",
    change: (file) => fs.appendFileSync(file, "er"),
    after: "older",
    options: (file) => ({ lock: DirLock.acquireSync(path.dirname(file)) }),
  },
];

for (const { form, update } of FORMS) {
  for (const { what, change, before = "old", after, options, needsLinks } of CHANGES) {
    test(
      `${form} calls its function again when another writer ${what}`,
      () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, "file");
          if (before !== null) fs.writeFileSync(file, before);
          const given = options?.(file);
          const seen: (string | null)[] = [];
          await update(file, (bytes) => {
            if (seen.push(decode(bytes)) === 1) change(file);
            return `${decode(bytes)}, updated`;
          }, given);
          (given?.lock as DirLock | undefined)?.release();
          assertEquals(seen.slice(1), [after]);
          assertEquals(text(file), `${after}, updated`);
        }),
      { skip: needsLinks === true && !linksWork() && "symbolic links are not available" },
    );
  }

  test(`${form} compares the bytes when a recent change leaves the same size and time`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      let time: Date | undefined;
      const calls: (string | null)[] = [];
      await intercepted(({ name, args }) => {
        if (name !== "stat" || args[0] !== file || time !== undefined) return;
        time = new Date();
        fs.utimesSync(file, time, time);
      }, () =>
        update(file, (bytes) => {
          if (calls.push(decode(bytes)) === 1) {
            fs.writeFileSync(file, "new");
            fs.utimesSync(file, time!, time!);
          }
          return `${decode(bytes)}, updated`;
        }));
      assertEquals([calls, text(file)], [["old", "new"], "new, updated"]);
    }));

  test(`${form} fails with ESTALE when the file changes during each of ten calls to its function`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      let calls = 0;
      const error: Stale = await assertRejects(
        () => update(file, () => (fs.writeFileSync(file, `other ${++calls}`), "mine")),
        Error,
        "Another writer changed the file",
      );
      assertEquals([error.code, error.tries, calls], ["ESTALE", 10, 10]);
      assertEquals([text(file), list(dir)], ["other 10", ["file"]]);
      (await DirLock.tryAcquire(dir))!.release();
    }));

  test(`${form} with createNew fails with EEXIST when another writer creates the file`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const error: Stale = await assertRejects(
        () => update(file, () => (fs.writeFileSync(file, "other"), "mine"), { createNew: true }),
        Error,
      );
      assertEquals([error.code, error.tries, text(file)], ["EEXIST", undefined, "other"]);
    }));

  test(`${form} does not check for other writers when its function returns null`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      let calls = 0;
      await update(file, () => {
        calls++;
        fs.writeFileSync(file, "other");
        return null;
      });
      assertEquals([calls, text(file)], [1, "other"]);
    }));

  test(
    `${form} checks for other writers again before an in-place copy`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        fs.writeFileSync(file, "old");
        const seen: (string | null)[] = [];
        await intercepted(({ name, args }) => {
          if (name === "rename" && args[1] === file) throw systemError("EBUSY");
          if (name === "openExisting" && args[0] === file && seen.length === 1) {
            fs.appendFileSync(file, "er");
          }
        }, () =>
          update(file, (bytes) => {
            seen.push(decode(bytes));
            return `${decode(bytes)}, updated`;
          }, { fallback: "in-place" }));
        assertEquals([seen, text(file)], [["old", "older"], "older, updated"]);
        assertEquals(list(dir), ["file"]);
      }),
    { skip: isWindows && "no copies in place on Windows" },
  );

  test(`${form} calls its function only once when nothing else changes the file`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "counter");
      let calls = 0;
      await Promise.all(Array.from({ length: 30 }, () => {
        return update(file, (bytes) => {
          calls++;
          return String(Number(decode(bytes)) + 1);
        });
      }));
      assertEquals([calls, text(file)], [30, "30"]);
    }));
}

test("atomicUpdate() calls its function again when the function awaits a write to the same file", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    let calls = 0;
    await atomicUpdate(file, async (bytes) => {
      if (++calls === 1) await atomicWrite(file, "written");
      return `${decode(bytes)}, updated`;
    });
    assertEquals([calls, text(file)], [2, "written, updated"]);
  }));

async function* pieces(): AsyncGenerator<string> {
  yield "mi";
  yield "ne";
}

/**
 * Data that may be readable only once. Each test creates the data once and returns the same data
 * from every call.
 */
const SOURCES: [what: string, make: () => Parameters<typeof atomicWrite>[1]][] = [
  ["a ReadableStream", () => blobOf("mine").stream()],
  ["a generator", pieces],
  ["a node:stream stream", () => Readable.from(pieces())],
  ["a Blob", () => blobOf("mine")],
];

for (const [what, make] of SOURCES) {
  test(`atomicUpdate() fails with ESTALE when the file changes and its function returns ${what}`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "old");
      const data = make();
      let calls = 0;
      const stale = async () => {
        const error: Stale = await assertRejects(
          () =>
            atomicUpdate(file, () => {
              calls++;
              fs.appendFileSync(file, "er");
              return data;
            }),
          Error,
        );
        return error;
      };
      const { code, tries } = await stale();
      assertEquals([code, tries, calls], ["ESTALE", 1, 1]);
      assertEquals([text(file), list(dir)], ["older", ["file"]]);
      // Pass the same data again: it has already been consumed, and must not produce an empty file.
      assert((await stale()).message !== "");
      assertEquals([text(file), list(dir)], ["olderer", ["file"]]);
    }));
}
