/**
 * The tests of the Rust module on which this library was originally based, under their original
 * names.
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { atomicWrite, atomicWriteSync, DirLock, isTempName, LOCK_FILE_NAME } from "../../mod.ts";
import { inTempDir, text } from "../support/dir.ts";
import { recorded } from "../support/runtime.ts";
import { test } from "../support/test.ts";

test("seed: test_atomic_write_creates_file", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "test.txt");
    await atomicWrite(file, new TextEncoder().encode("hello world"));
    assertEquals(text(file), "hello world");
  }));

test("seed: test_atomic_write_no_temp_files_left", () =>
  inTempDir(async (dir) => {
    await atomicWrite(path.join(dir, "test.txt"), new TextEncoder().encode("data"));
    assertEquals(fs.readdirSync(dir), ["test.txt"]);
  }));

test("seed: test_atomic_write_overwrites_existing", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "test.txt");
    await atomicWrite(file, new TextEncoder().encode("first"));
    await atomicWrite(file, new TextEncoder().encode("second"));
    assertEquals(text(file), "second");
  }));

test("seed: test_atomic_write_sync_creates_file", () =>
  inTempDir((dir) => {
    const file = path.join(dir, "test.txt");
    atomicWriteSync(file, new TextEncoder().encode("hello sync"));
    assertEquals(text(file), "hello sync");
  }));

test("seed: test_atomic_write_sync_no_temp_files_left", () =>
  inTempDir((dir) => {
    atomicWriteSync(path.join(dir, "test.txt"), new TextEncoder().encode("data"));
    assertEquals(fs.readdirSync(dir), ["test.txt"]);
  }));

test("seed: test_dir_lock_acquire_and_release", () =>
  inTempDir(async (dir) => {
    const lockFile = path.join(dir, LOCK_FILE_NAME);
    const lock = await DirLock.acquire(dir);
    assert(fs.existsSync(lockFile));
    lock.release();
    assert(fs.existsSync(lockFile));
  }));

test("seed: test_dir_lock_try_acquire", () =>
  inTempDir(async (dir) => {
    const first = await DirLock.tryAcquire(dir);
    assert(first !== null);
    assertEquals(await DirLock.tryAcquire(dir), null);
    first!.release();
    const third = await DirLock.tryAcquire(dir);
    assert(third !== null);
    third!.release();
  }));

test("seed: test_concurrent_atomic_writes_no_corruption", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "concurrent.txt");
    await Promise.all(Array.from({ length: 20 }, (_, i) => {
      return atomicWrite(file, `writer-${i}-${"x".repeat(1000)}`);
    }));
    assertEquals(text(file).replace(/^writer-\d+-/, ""), "x".repeat(1000));
  }));

test("seed: test_temp_sibling_uniqueness", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "test.json");
    const calls = await recorded(async () => {
      await atomicWrite(file, "1");
      await atomicWrite(file, "2");
    });
    const [first, second] = calls.filter(({ name }) => name === "create")
      .map(({ args }) => args[0] as string);
    assertEquals(path.dirname(first!), dir);
    assertEquals(path.dirname(second!), dir);
    assert(path.basename(first!).startsWith("."));
    assert(first!.endsWith(".tmp"));
    assert(isTempName(path.basename(first!)));
    assertNotEquals(first, second);
  }));
