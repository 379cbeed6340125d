/** flock and fcntl through FFI, and F_FULLFSYNC of macOS, checked on every OS. */
import { assertEquals, assertThrows } from "@std/assert";
import { constants } from "node:os";
import process from "node:process";
import { builtinCalls } from "../../runtime/native/calls_unix.ts";
import { fullSync, isNoFullSync } from "../../runtime/native/full_sync.ts";
import { test } from "../support/test.ts";

const hasFfi = builtinCalls() !== undefined;

test("isNoFullSync() is true only on macOS, and only for the codes of a missing F_FULLFSYNC", () => {
  for (const code of ["ENOTSUP", "ENOTTY", "EINVAL"]) {
    assertEquals(isNoFullSync(code, "darwin"), true);
    assertEquals(isNoFullSync(code, "linux"), false);
  }
  assertEquals(isNoFullSync("EIO", "darwin"), false);
  assertEquals(isNoFullSync(undefined, "darwin"), false);
});

test("fullSync() calls F_FULLFSYNC, and throws unless the file system lacks it", () => {
  const { EIO, ENOTTY } = constants.errno;
  const calls: number[][] = [];
  const sync = (errno: number) =>
    fullSync({ flock: () => 0, fcntl: (...args) => (calls.push(args), errno) }, 5);
  sync(0);
  sync(ENOTTY);
  assertEquals(calls, [[5, 51], [5, 51]]);
  assertThrows(() => sync(EIO), Error, "EIO: fcntl");
});

test("builtinCalls() on Bun opens the libc that exists, and reads its errno", () => {
  const loaded: string[] = [];
  const ffi = (there: string) => ({
    dlopen(library: string, functions: Record<string, unknown>) {
      if (library !== there) throw new Error(`Failed to open library "${library}"`);
      loaded.push(`${library}: ${Object.keys(functions)}`);
      const symbols = {
        flock: () => -1,
        fcntl: () => 3,
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
    const calls = builtinCalls(ffi(library), platform)!;
    assertEquals([calls.flock(1, 2), calls.fcntl(1, 2)], [11, 0]);
  }
  assertEquals(loaded.map((line) => line.split(",").at(-1)), [
    "__error",
    "__errno_location",
    "__errno_location",
  ]);
  assertThrows(() => builtinCalls(ffi("libother"), "linux"), Error, "Failed to open");
});

test("builtinCalls() calls flock(2) through bun:ffi or node:ffi", () => {
  const { EBADF } = constants.errno;
  assertEquals(builtinCalls()!.flock(-1, 1), EBADF);
}, { skip: !hasFfi && "this runtime has no FFI of its own" });

test("builtinCalls() on Node searches the program, and reads its errno", () => {
  const asked: unknown[] = [];
  const functions = { flock: () => -1, fcntl: () => 3, __errno_location: () => 8n };
  const ffi = {
    dlopen: (library: string | null) => (asked.push(library), { functions }),
    getInt32: (pointer: unknown, offset: number) => Number(pointer) + offset + 3,
  };
  const calls = builtinCalls(ffi, "linux")!;
  assertEquals([calls.flock(1, 2), calls.fcntl(1, 2), asked], [11, 0, [null]]);
});
