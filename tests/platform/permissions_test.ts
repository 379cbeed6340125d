/** The library under Deno's permissions: access to one directory is enough, and nothing prompts. */
import { assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inTempDir } from "../support/dir.ts";
import { isDeno, test } from "../support/test.ts";

const skip = !isDeno && "only Deno has permissions";

/** Runs a program with these permissions, in `dir`; returns what it prints. */
async function output(dir: string, permissions: string[], program: string): Promise<string> {
  const mod = new URL("../../mod.ts", import.meta.url).href;
  const file = path.join(dir, "program.ts");
  fs.writeFileSync(file, `import * as lib from "${mod}";\n${program}`);
  const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
  const args = ["run", "--quiet", "--no-prompt", "--no-check", "--config", config];
  args.push(...JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]"));
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args, ...permissions, file],
    cwd: dir,
    env: { NO_COLOR: "1" },
  }).output();
  return (new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr)).trim();
}

const everything = (dir: string) => `
  const dir = ${JSON.stringify(dir)};
  await Deno.mkdir(dir + "/sub", { recursive: true });
  for (const durability of ["none", "consistent", "durable"]) {
    await lib.atomicWrite(dir + "/a", "x", { durability });
    lib.atomicWriteSync(dir + "/a", "x", { durability, mode: 0o666 });
    await lib.atomicWrite(dir + "/a", new Blob(["x"]), { durability });
    await lib.atomicWrite(dir + "/new-" + durability, "x", { createNew: true, durability });
  }
  {
    await using file = await lib.AtomicFile.open(dir + "/b");
    await file.write("b");
    await file.commit();
  }
  await lib.atomicUpdate(dir + "/sub/deep/c", () => "c");
  (await lib.DirLock.acquire(dir + "/locked", { timeout: 5 })).release();
  lib.DirLock.acquireSync(dir).release();
  (await lib.DirLock.tryAcquire(dir, { shared: true })).release();
  await lib.sweepTempFiles(dir, { olderThan: 0 });
  console.log("all done");
`;

test(
  "every call works with read and write permission for only the directory",
  () =>
    inTempDir(async (dir) => {
      const own = path.join(dir, "own");
      const permissions = [`--allow-read=${own}`, `--allow-write=${own}`];
      assertEquals(await output(dir, permissions, everything(own)), "all done");
    }),
  { skip },
);

test(
  "every call works with permissions for only a relative directory",
  () =>
    inTempDir(async (dir) => {
      const permissions = ["--allow-read=own", "--allow-write=own"];
      assertEquals(await output(dir, permissions, everything("own")), "all done");
    }),
  { skip },
);

const report = (call: string) => `
  try {
    await lib.${call};
    console.log("no error");
  } catch (error) {
    console.log(error instanceof Deno.errors.NotCapable, error.message.split(",")[0], error.code);
  }
`;

for (
  const call of [
    'atomicWrite("own/a", "x")',
    'atomicWrite("own/a", "x", { mode: 0o600 })',
    'atomicWrite("own/a", new Blob(["x"]))',
    'atomicWriteSync("own/a", "x")',
    'AtomicFile.open("own/a")',
    'atomicUpdate("own/a", () => "x")',
    'DirLock.acquire("own")',
    'DirLock.tryAcquire("own")',
    'DirLock.acquireSync("own")',
    'sweepTempFiles("own")',
  ]
) {
  for (
    const [what, permissions, message] of [
      ["read", ["--allow-write=own"], "Requires read access to"],
      ["write", ["--allow-read=own"], "Requires write access to"],
    ] as const
  ) {
    if (call.startsWith("sweep") && what === "write") continue;
    const name = call.slice(0, call.indexOf("("));
    test(
      `${name}() rejects with Deno's own error without ${what} permission: ${call}`,
      () =>
        inTempDir(async (dir) => {
          fs.mkdirSync(path.join(dir, "own"));
          const printed = await output(dir, [...permissions], report(call));
          assertEquals(printed.replace(/access to .*/, "access to"), `true ${message}`);
          assertEquals(printed.split(" ").at(-1), "undefined");
          assertEquals(fs.readdirSync(path.join(dir, "own")), []);
        }),
      { skip },
    );
  }
}
