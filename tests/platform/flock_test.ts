/** flock(2) through FFI, and file systems without F_FULLFSYNC on macOS; checked on every OS. */
import { assertEquals, assertThrows } from "@std/assert";
import { constants } from "node:os";
import process from "node:process";
import { isNoFullSync } from "../../runtime/deno/runtime.ts";
import { builtinFlock } from "../../runtime/native/flock.ts";
import { test } from "../support/test.ts";

const hasFfi = builtinFlock() !== undefined;

test("isNoFullSync() is true only on macOS, for codes that mean that F_FULLFSYNC is not supported", () => {
  for (const code of ["ENOTSUP", "ENOTTY", "EINVAL"]) {
    assertEquals(isNoFullSync(code, "darwin"), true);
    assertEquals(isNoFullSync(code, "linux"), false);
  }
  assertEquals(isNoFullSync("EIO", "darwin"), false);
  assertEquals(isNoFullSync(undefined, "darwin"), false);
});

test("builtinFlock() on Bun opens the installed libc and reads its errno", () => {
  const loaded: string[] = [];
  const ffi = (there: string) => ({
    dlopen(library: string, functions: Record<string, unknown>) {
      if (library !== there) throw new Error(`Failed to open library "${library}"`);
      loaded.push(`${library}: ${Object.keys(functions)}`);
      const symbols = {
        flock: () => -1,
        __error: () => 8,
        __errno_location: () => 8,
      };
      return { symbols };
    },
    read: { i32: (pointer: number) => pointer + 3 },
  });
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  for (
    const [platform, library] of [
      ["darwin", "libSystem.B.dylib"],
      ["linux", "libc.so.6"],
      ["linux", `libc.musl-${machine}.so.1`],
    ] as const
  ) {
    assertEquals(builtinFlock(ffi(library), platform)!(1, 2), 11);
  }
  assertEquals(loaded.map((line) => line.split(",").at(-1)), [
    "__error",
    "__errno_location",
    "__errno_location",
  ]);
  assertThrows(() => builtinFlock(ffi("libother"), "linux"), Error, "Failed to open");
});

test("builtinFlock() calls flock(2) through bun:ffi or node:ffi", () => {
  const { EBADF } = constants.errno;
  assertEquals(builtinFlock()!(-1, 1), EBADF);
}, { skip: !hasFfi && "this runtime has no built-in FFI" });

test("builtinFlock() on Node searches the running program for flock(2) and reads its errno", () => {
  const asked: unknown[] = [];
  const functions = { flock: () => -1, __errno_location: () => 8n };
  const ffi = {
    dlopen: (library: string | null) => (asked.push(library), { functions }),
    getInt32: (pointer: unknown, offset: number) => Number(pointer) + offset + 3,
  };
  assertEquals(builtinFlock(ffi, "linux")!(1, 2), 11);
  assertEquals(asked, [null]);
});
