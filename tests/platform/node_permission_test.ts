/**
 * The library under Node's permission model, which forbids fsync, fchmod, fchown and addons. Node
 * 20 to 24 allow fsync on a FileHandle.
 */
import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { builtinFlock } from "../../runtime/native/flock.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { isBun, isDeno, test } from "../support/test.ts";

const skip = (isDeno || isBun) && "only Node has --permission";
/**
 * The reason for skipping tests that rely on addons being forbidden: before 20.12, Node allows
 * them.
 */
const skipAddons = skip ||
  (!process.allowedNodeEnvironmentFlags.has("--allow-addons") && "this Node has no --allow-addons");
const library = fileURLToPath(new URL("../../mod.js", import.meta.url));

/**
 * Runs a program that may read all files but write only in a subdirectory of `dir`; returns its
 * output.
 */
function output(dir: string, flags: string[], program: string): string {
  const file = path.join(dir, "program.mjs");
  const specifier = JSON.stringify(library);
  fs.writeFileSync(file, `import * as lib from ${specifier};\n${program}`);
  const name = process.allowedNodeEnvironmentFlags.has("--permission")
    ? "--permission"
    : "--experimental-permission";
  const own = path.join(dir, "own");
  fs.mkdirSync(own);
  const args = [name, "--no-warnings", "--allow-fs-read=*", `--allow-fs-write=${own}/*`, ...flags];
  const { stdout, stderr } = spawnSync(process.execPath, [...args, file, own], {
    encoding: "utf8",
  });
  return (stdout + stderr).trim();
}

/** Returns a program that tries every kind of write and prints each unexpected result. */
const writes = (durabilities: string[], failed: string) => `
  import * as fs from "node:fs";
  const dir = process.argv[2];
  const options = [{}, { mode: 0o640 }, { createNew: true }];
  const forms = {
    async: (file, options) => lib.atomicWrite(file, "async", options),
    sync: async (file, options) => lib.atomicWriteSync(file, "sync", options),
    blob: (file, options) => lib.atomicWrite(file, new Blob(["blob"]), options),
    stream: async (file, options) => {
      const stream = await lib.AtomicFile.open(file, options);
      await stream.write("stream");
      await stream.commit();
    },
  };
  for (const durability of ${JSON.stringify(durabilities)}) {
    for (const [form, write] of Object.entries(forms)) {
      for (const [i, option] of options.entries()) {
        const file = dir + "/" + [durability, form, i].join("-");
        if (!option.createNew) fs.writeFileSync(file, "old", { mode: 0o600 });
        try {
          await write(file, { durability, ...option });
          const mode = (fs.statSync(file).mode & 0o777).toString(8);
          const content = fs.readFileSync(file, "utf8");
          if (content !== form) console.log(durability, form, i, "has", content);
          if (i < 2 && mode !== ["600", "640"][i]) console.log(durability, form, i, "is", mode);
        } catch (error) {
          ${failed}
        }
      }
    }
  }
  console.log("all done");
`;

for (const flags of [[], ["--allow-addons"]]) {
  const how = flags.length === 0 ? "" : " with --allow-addons";

  test(
    `atomicWrite() works under --permission${how} unless it needs to fsync a directory`,
    () =>
      inTempDir((dir) => {
        const failed = "console.log(durability, form, i, error.code, error.message);";
        assertEquals(output(dir, flags, writes(["none", "consistent"], failed)), "all done");
        assertEquals(list(path.join(dir, "own")).length, 2 * 4 * 3);
      }),
    { skip: flags.length === 0 ? skip : skipAddons },
  );
}

test(
  "atomicWrite() under --permission is durable, or reports the operation that is forbidden",
  () =>
    inTempDir((dir) => {
      const failed = `
      const found = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "nothing";
      const wanted = error.replaced ? form : option.createNew ? "nothing" : "old";
      const clear = error.code === "ERR_ACCESS_DENIED" && /permission/i.test(error.message);
      if (!clear || found !== wanted) console.log(form, i, found, wanted, error.code, error.message);
    `;
      assertEquals(output(dir, [], writes(["durable"], failed)), "all done");
    }),
  { skip },
);

for (const flag of ["--allow-addons", "--allow-ffi"]) {
  test(
    `DirLock.acquire() and atomicUpdate() work under --permission with ${flag}`,
    () =>
      inTempDir((dir) => {
        const printed = output(
          dir,
          [flag],
          `
      const dir = process.argv[2];
      const lock = await lib.DirLock.acquire(dir);
      console.log(await lib.DirLock.tryAcquire(dir), lib.DirLock.tryAcquireSync(dir));
      lock.release();
      await lib.atomicUpdate(dir + "/file", () => "async");
      lib.atomicUpdateSync(dir + "/file", (bytes) => new TextDecoder().decode(bytes) + ", sync");
      lib.DirLock.acquireSync(dir).release();
      console.log("all done");
    `,
        );
        assertEquals(printed.split("\n"), ["null null", "all done"]);
        assertEquals(text(path.join(dir, "own", "file")), "async, sync");
      }),
    { skip: skip || !process.allowedNodeEnvironmentFlags.has(flag) && `this Node has no ${flag}` },
  );
}

test(
  "DirLock.acquire() and atomicUpdate() name --allow-addons when --permission forbids addons",
  () =>
    inTempDir((dir) => {
      const lines = output(
        dir,
        [],
        `
      const dir = process.argv[2];
      const calls = [
        () => lib.DirLock.acquire(dir),
        () => lib.DirLock.tryAcquire(dir),
        async () => lib.DirLock.acquireSync(dir),
        async () => lib.DirLock.tryAcquireSync(dir),
        () => lib.atomicUpdate(dir + "/file", () => "x"),
        async () => lib.atomicUpdateSync(dir + "/file", () => "x"),
      ];
      for (const call of calls) {
        await call().then(() => console.log("no error"), ({ message }) => {
          console.log(message.replaceAll("\\n", " "));
        });
      }
    `,
      ).split("\n");
      assertEquals(lines.length, 6, lines.join("\n"));
      for (const line of lines) {
        assert(line.includes("--allow-addons"), line);
        assertEquals(line.includes("--allow-ffi"), builtinFlock() !== undefined, line);
        assert(!line.includes("npm install"), line);
      }
      assertEquals(list(path.join(dir, "own")), []);
    }),
  { skip },
);
