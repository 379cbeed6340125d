/**
 * What Node's permission model lets the library do: it forbids fsync, fchmod, fchown and addons, on
 * Node 20 to 24 not the fsync of a FileHandle.
 */
import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inTempDir, list, text } from "../support/dir.ts";
import { isBun, isDeno, test } from "../support/test.ts";

const skip = (isDeno || isBun) && "only Node has --permission";
/** Came with Node 20.12; before, addons are not forbidden. */
const skipAddons = skip ||
  (!process.allowedNodeEnvironmentFlags.has("--allow-addons") && "there is no --allow-addons");
const library = fileURLToPath(new URL("../../mod.js", import.meta.url));

/** What a program prints that may read everything and write in `dir`; `lib` is the library. */
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

/** Writes in every form; says what is not as it should be. */
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
  const how = flags.length === 0 ? "without --allow-addons" : "with --allow-addons";

  test(
    `Every write that needs no fsync of a directory works under --permission ${how}`,
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
  "A durable write under --permission is done, or tells what it could not do",
  () =>
    inTempDir((dir) => {
      const failed = `
      const found = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "nothing";
      const told = error.replaced ? form : option.createNew ? "nothing" : "old";
      const clear = error.code === "ERR_ACCESS_DENIED" && /permission/i.test(error.message);
      if (!clear || found !== told) console.log(form, i, found, told, error.code, error.message);
    `;
      assertEquals(output(dir, [], writes(["durable"], failed)), "all done");
    }),
  { skip },
);

test("Locks and updates work under --permission with --allow-addons", () =>
  inTempDir((dir) => {
    const told = output(
      dir,
      ["--allow-addons"],
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
    assertEquals(told.split("\n"), ["null null", "all done"]);
    assertEquals(text(path.join(dir, "own", "file")), "async, sync");
  }), { skip: skipAddons });

test(
  "A lock under --permission without --allow-addons says what is missing",
  () =>
    inTempDir((dir) => {
      const told = output(
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
      assertEquals(told.length, 6, told.join("\n"));
      for (const line of told) {
        assert(line.includes("--allow-addons"), line);
        assert(!line.includes("npm install"), line);
      }
      assertEquals(list(path.join(dir, "own")), []);
    }),
  { skip },
);
