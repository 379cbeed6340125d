/** Locking on Node and Bun when koffi is missing or cannot be loaded. */
import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inTempDir } from "../support/dir.ts";
import { builtinFlock } from "../../runtime/native/flock.ts";
import { isBun, isDeno, test } from "../support/test.ts";

const built = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Runs a program that writes a file and acquires a lock; returns its output. The program uses a
 * copy of the library whose koffi module contains the code in `koffi`.
 */
function withKoffi(dir: string, koffi: string | undefined, ...flags: string[]): string[] {
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
  // Keep the runtime from finding another koffi: NODE_PATH may point to one, and Bun would install
  // one.
  const args = isBun ? ["--no-install", program] : [...flags, program];
  const env = { ...process.env, NODE_PATH: "" };
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: dir, env, encoding: "utf8" });
  assertEquals(fs.readFileSync(path.join(dir, "file"), "utf8"), "x", stderr);
  return stdout.trim().split("\n");
}

const broken = `throw Object.assign(new Error("koffi.node: invalid ELF header"), {
  code: "ERR_DLOPEN_FAILED",
});`;

/** Whether the runtime itself is an npm package in a node_modules directory that contains koffi. */
function isBesideKoffi(): boolean {
  try {
    return createRequire(process.execPath).resolve("koffi") !== "";
  } catch {
    return false;
  }
}

/** Whether the runtime has a built-in FFI, as Bun and Node 26 and later do. */
const hasFfi = !isDeno && builtinFlock() !== undefined;

test("DirLock.acquire() says to install koffi when it is missing", () =>
  inTempDir((dir) => {
    const [code, message] = withKoffi(dir, undefined);
    assertEquals(code, "ERR_MODULE_NOT_FOUND");
    assert(message!.includes("npm install koffi"), message);
  }), {
  skip: isDeno && "Deno has built-in locks" || hasFfi && "this runtime has a built-in FFI" ||
    isBesideKoffi() && "koffi is installed next to this Node",
});

const brokenKoffis: [koffi: string, why: string][] = [
  [broken, "koffi.node: invalid ELF header"],
  ["throw null", "null"],
  ["", "it does not export load()"],
];
test(
  "DirLock.acquire() says why koffi cannot be loaded when it is installed",
  () =>
    inTempDir((dir) => {
      for (const [koffi, why] of brokenKoffis) {
        const [code, message] = withKoffi(dir, koffi);
        assertEquals(code, "ERR_DLOPEN_FAILED");
        assert(message!.endsWith(`which is installed but cannot be loaded: ${why}`), message);
      }
    }),
  { skip: isDeno && "Deno has built-in locks" || hasFfi && "this runtime has a built-in FFI" },
);

for (const [what, koffi] of [["is missing", undefined], ["cannot be loaded", broken]] as const) {
  test(
    `DirLock.acquire() uses the FFI of Bun or Node when koffi ${what}`,
    () => inTempDir((dir) => assertEquals(withKoffi(dir, koffi), ["null", "locked"])),
    { skip: !hasFfi && "this runtime has no built-in FFI" },
  );
}

test(
  "DirLock.acquire() names both causes when neither koffi nor node:ffi can be used",
  () =>
    inTempDir((dir) => {
      const permissions = ["--permission", "--allow-fs-read=*", "--allow-fs-write=*"];
      const [code, message] = withKoffi(dir, broken, ...permissions, "--allow-addons");
      assertEquals(code, "ERR_DLOPEN_FAILED");
      assert(message!.includes("invalid ELF header"), message);
      assert(message!.includes("--allow-ffi"), message);
    }),
  { skip: (!hasFfi || isBun) && "only Node 26 and later have node:ffi" },
);
