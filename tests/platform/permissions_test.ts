/**
 * The library under Deno's permissions: access to one directory is sufficient, and no call prompts.
 */
import { assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inTempDir } from "../support/dir.ts";
import { isDeno, isWindows, test } from "../support/test.ts";

const skip = !isDeno && "only Deno has permissions";

/** Runs a program in `dir` with these permissions; returns its output. */
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
  "every call works with read and write permission only for the directory",
  () =>
    inTempDir(async (dir) => {
      const own = path.join(dir, "own");
      const permissions = [`--allow-read=${own}`, `--allow-write=${own}`];
      assertEquals(await output(dir, permissions, everything(own)), "all done");
    }),
  { skip },
);

test(
  "every call works with permissions only for a relative directory path",
  () =>
    inTempDir(async (dir) => {
      const permissions = ["--allow-read=own", "--allow-write=own"];
      assertEquals(await output(dir, permissions, everything("own")), "all done");
    }),
  { skip },
);

const CALLS = [
  'atomicWrite("DIR/a", "x")',
  'atomicWrite("DIR/a", "x", { mode: 0o600 })',
  'atomicWrite("DIR/a", new Blob(["x"]))',
  'atomicWriteSync("DIR/a", "x")',
  'AtomicFile.open("DIR/a")',
  'atomicUpdate("DIR/a", () => "x")',
  'DirLock.acquire("DIR")',
  'DirLock.tryAcquire("DIR")',
  'DirLock.acquireSync("DIR")',
  'sweepTempFiles("DIR")',
];

/** The outcome of a call, and the files that it left in its directory. */
interface Outcome {
  readonly printed: string;
  readonly left: string[];
}

/** Makes all calls in one process with these permissions, each in its own directory. */
function outcomes(permissions: string[]): Promise<Outcome[]> {
  return inTempDir(async (dir) => {
    const program = CALLS.map((call, i) => {
      fs.mkdirSync(path.join(dir, "own", String(i)), { recursive: true });
      return `
        try {
          await lib.${call.replace("DIR", `own/${i}`)};
          console.log("no error");
        } catch (error) {
          const { message, code } = error;
          console.log(error instanceof Deno.errors.NotCapable, message.split(",")[0], code);
        }`;
    });
    const lines = (await output(dir, permissions, program.join("\n"))).split("\n");
    assertEquals(lines.length, CALLS.length, lines.join("\n"));
    return lines.map((printed, i) => {
      return { printed, left: fs.readdirSync(path.join(dir, "own", String(i))) };
    });
  });
}

for (
  const [what, permissions, message] of [
    ["read", ["--allow-write=own"], "Requires read access to"],
    ["write", ["--allow-read=own"], "Requires write access to"],
  ] as const
) {
  let all: Promise<Outcome[]> | undefined;
  for (const [i, call] of CALLS.entries()) {
    if (call.startsWith("sweep") && what === "write") continue;
    const name = call.slice(0, call.indexOf("("));
    test(
      `${name}() rejects with Deno's own error when it lacks ${what} permission: ${call}`,
      async () => {
        all ??= outcomes([...permissions]);
        const { printed, left } = (await all)[i]!;
        assertEquals(printed.replace(/access to .*/, "access to"), `true ${message}`);
        assertEquals([printed.split(" ").at(-1), left], ["undefined", []]);
      },
      { skip },
    );
  }
}

test(
  "atomicWrite() advises access to the file's directory only if Deno denied it that directory",
  () =>
    inTempDir(async (dir) => {
      for (const name of ["own", "other"]) fs.mkdirSync(path.join(dir, name));
      fs.symlinkSync("../other/file", path.join(dir, "own", "link"));
      const program = `
        for (const file of ["own/file", "own/link"]) {
          const message = await lib.atomicWrite(file, "x").then(() => "", (error) => error.message);
          console.log(message !== "", message.includes("Grant access to the directory"));
        }`;
      const denied = await output(dir, ["--allow-read", "--allow-write=nowhere"], program);
      assertEquals(denied, "true true\ntrue false");
      const linked = await output(dir, ["--allow-read", "--allow-write=own"], program);
      assertEquals(linked, "false false\ntrue false");
    }),
  { skip: skip || isWindows && "creating a link requires a privilege" },
);
