/** What gives the locks on Node and Bun, when it is not there or does not work. */
import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inTempDir } from "../support/dir.ts";
import { isBun, isDeno, test } from "../support/test.ts";

const built = fileURLToPath(new URL("../../", import.meta.url));

/** What a program says of a lock, and of a write, with a copy of the library and this koffi. */
function withKoffi(dir: string, koffi: string | undefined): string[] {
  const packed = path.join(dir, "package");
  const tests = path.join(built, "tests");
  const filter = (file: string) => !file.startsWith(tests);
  fs.cpSync(built, packed, { recursive: true, filter });
  if (koffi !== undefined) {
    fs.mkdirSync(path.join(packed, "node_modules", "koffi"), { recursive: true });
    fs.writeFileSync(path.join(packed, "node_modules", "koffi", "index.js"), koffi);
  }
  const program = path.join(dir, "program.mjs");
  fs.writeFileSync(
    program,
    `
    import * as lib from "./package/mod.js";
    await lib.atomicWrite("file", "x");
    try {
      const lock = await lib.DirLock.acquire("locked");
      console.log(lib.DirLock.tryAcquireSync("locked"));
      lock.release();
      lib.DirLock.tryAcquireSync("locked").release();
      console.log("locked");
    } catch ({ code, message }) {
      console.log(code);
      console.log(message.replaceAll("\\n", " "));
    }
  `,
  );
  // NODE_PATH may lead to a koffi, and Bun installs what is not there.
  const args = isBun ? ["--no-install", program] : [program];
  const env = { ...process.env, NODE_PATH: "" };
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: dir, env, encoding: "utf8" });
  assertEquals(fs.readFileSync(path.join(dir, "file"), "utf8"), "x", stderr);
  return stdout.trim().split("\n");
}

const broken = `throw Object.assign(new Error("koffi.node: invalid ELF header"), {
  code: "ERR_DLOPEN_FAILED",
});`;

/** Whether the runtime is one of a development tool's packages, which koffi is among. */
function isBesideKoffi(): boolean {
  try {
    return createRequire(process.execPath).resolve("koffi") !== "";
  } catch {
    return false;
  }
}

test("A lock without koffi says how to get it", () =>
  inTempDir((dir) => {
    const [code, message] = withKoffi(dir, undefined);
    assertEquals(code, "ERR_MODULE_NOT_FOUND");
    assert(message!.includes("npm install koffi"), message);
  }), {
  skip: isDeno && "Deno has locks" || isBun && "Bun has bun:ffi" ||
    isBesideKoffi() && "this Node itself lies where koffi is found",
});

test(
  "A lock with a koffi that cannot be loaded says why, and not that it is missing",
  () =>
    inTempDir((dir) => {
      const [code, message] = withKoffi(dir, broken);
      assert(code !== "ERR_MODULE_NOT_FOUND", code);
      assert(message!.includes("invalid ELF header"), message);
      assert(!message!.includes("npm install koffi"), message);
    }),
  { skip: isDeno && "Deno has locks" || isBun && "Bun has bun:ffi" },
);

test(
  "Bun locks by bun:ffi where koffi is missing",
  () => inTempDir((dir) => assertEquals(withKoffi(dir, undefined), ["null", "locked"])),
  {
    skip: !isBun && "only Bun has bun:ffi",
  },
);
