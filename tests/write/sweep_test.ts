/**
 * sweepTempFiles() and sweepTempFilesSync() remove files left by killed processes and nothing else.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { pathToFileURL } from "node:url";
import { isTempName, type SweepOptions, sweepTempFiles, sweepTempFilesSync } from "../../mod.ts";
import { inTempDir, list } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { linksWork, test } from "../support/test.ts";

type Sweep = (dir: string | URL, options?: SweepOptions) => Promise<string[]>;

/** Both forms of a sweep, which must behave alike. */
const forms: [string, Sweep][] = [
  ["sweepTempFiles()", sweepTempFiles],
  ["sweepTempFilesSync()", (...args) => {
    return Promise.resolve().then(() => sweepTempFilesSync(...args));
  }],
];

const TEMP = ".a.0123456789abcdef.tmp";
const HOUR_MS = 3_600_000;

/** Creates a file last modified `ageMs` milliseconds ago, and its directory if necessary. */
function make(dir: string, name: string, ageMs = 2 * HOUR_MS): string {
  const file = path.join(dir, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, "x");
  const time = new Date(Date.now() - ageMs);
  fs.utimesSync(file, time, time);
  return file;
}

for (const [form, sweep] of forms) {
  test(
    `${form} removes old temporary files and nothing else`,
    () =>
      inTempDir(async (dir) => {
        const old = [make(dir, TEMP), make(dir, ".b.json.ffffffffffffffff.tmp")];
        make(dir, ".young.0123456789abcdef.tmp", 0);
        for (
          const name of [
            ".upper.0123456789ABCDEF.tmp",
            ".short.0123456789abcde.tmp",
            "plain.0123456789abcdef.tmp",
            ".c.0123456789abcdef.tmp.bak",
            ".kept.0123456789abcdef.kept",
            "precious",
            path.join("below", TEMP),
          ]
        ) make(dir, name);
        fs.mkdirSync(path.join(dir, ".dir.0123456789abcdef.tmp"));
        fs.symlinkSync("precious", path.join(dir, ".link.0123456789abcdef.tmp"));
        const before = list(dir);
        assertEquals((await sweep(dir)).sort(), old);
        assertEquals(
          before.filter((name) => !list(dir).includes(name)),
          old.map((file) => path.basename(file)),
        );
        assertEquals((await sweep(pathToFileURL(dir), { olderThan: 0 })).length, 1);
        assertEquals(list(path.join(dir, "below")), [TEMP]);
      }),
    { skip: !linksWork() && "symbolic links are not available" },
  );

  test(`${form} removes temporary files dated in the future when olderThan is 0`, () =>
    inTempDir(async (dir) => {
      const file = make(dir, TEMP, -24 * HOUR_MS);
      assertEquals(await sweep(dir), []);
      assertEquals(await sweep(dir, { olderThan: 1 }), []);
      assertEquals(await sweep(dir, { olderThan: 0 }), [file]);
    }));

  test(`${form} sweeps subdirectories when recursive is true`, () =>
    inTempDir(async (dir) => {
      const old = ["", "aa", path.join("bb", "cc", "dd")].map((name) => {
        return make(dir, path.join(name, TEMP));
      });
      make(dir, path.join("bb", ".young.0123456789abcdef.tmp"), 0);
      make(dir, path.join("bb", "cc", "precious"));
      make(dir, path.join(TEMP.replace(".a", ".dir"), "precious"));
      assertEquals((await sweep(dir, { recursive: true })).sort(), old.sort());
      assertEquals(list(path.join(dir, "bb", "cc")), ["dd", "precious"]);
      assertEquals(list(path.join(dir, "bb")), [".young.0123456789abcdef.tmp", "cc"]);
    }));

  test(
    `${form} does not follow links to directories when recursive is true`,
    () =>
      inTempDir(async (dir) => {
        const outside = make(dir, path.join("outside", TEMP));
        fs.mkdirSync(path.join(dir, "swept"));
        fs.symlinkSync("../outside", path.join(dir, "swept", "link"), "dir");
        fs.symlinkSync("..", path.join(dir, "swept", ".up.0123456789abcdef.tmp"), "dir");
        const options = { recursive: true, olderThan: 0 };
        assertEquals(await sweep(path.join(dir, "swept"), options), []);
        assert(fs.existsSync(outside));
      }),
    { skip: !linksWork() && "symbolic links are not available" },
  );

  for (const code of ["ENOENT", "EACCES"]) {
    test(`${form} skips a subdirectory that fails with ${code}`, () =>
      inTempDir(async (dir) => {
        const files = [make(dir, path.join("a", TEMP)), make(dir, path.join("b", TEMP))];
        await intercepted(({ name, args }) => {
          if (name === "readDir" && args[0] === path.join(dir, "a")) throw systemError(code);
        }, async () => assertEquals(await sweep(dir, { recursive: true }), files.slice(1)));
      }));
  }

  test(`${form} skips a file that is gone or cannot be removed`, () =>
    inTempDir(async (dir) => {
      const [, , file] = ["a", "b", "c"].map((name) => make(dir, `.${name}.0123456789abcdef.tmp`));
      await intercepted(({ name, args }) => {
        if (name !== "remove") return;
        if (String(args[0]).includes(".a.")) throw systemError("ENOENT");
        if (String(args[0]).includes(".b.")) throw systemError("EPERM");
      }, async () => assertEquals(await sweep(dir), [file!]));
    }));

  test(`${form} throws ENOENT when the directory is missing`, () =>
    inTempDir(async (dir) => {
      const missing = path.join(dir, "missing");
      const error = await assertRejects(() => sweep(missing), Error, `Cannot sweep '${missing}'`);
      assertEquals((error as Error & { code?: string }).code, "ENOENT");
    }));
}

test("isTempName() accepts only the names of temporary files", () => {
  for (
    const name of [
      ".a.0123456789abcdef.tmp",
      ".a.b.c.0123456789abcdef.tmp",
      ".ü.0000000000000000.tmp",
    ]
  ) {
    assert(isTempName(name), name);
  }
  for (
    const name of [
      "",
      "a",
      ".tmp",
      "..0123456789abcdef.tmp",
      ".a.0123456789abcdef.tm",
      "a.0123456789abcdef.tmp",
      ".a/b.0123456789abcdef.tmp",
    ]
  ) {
    assert(!isTempName(name), name);
  }
});
