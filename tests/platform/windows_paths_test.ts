/**
 * The path rules of Windows and of file systems that fold case or accents, checked on every OS.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as path from "node:path";
import { absolutePath, pathKey, resolveFrom } from "../../internal/base/paths.ts";
import { faultOnWindows } from "../../internal/base/windows_names.ts";
import { isTempName, tempPath } from "../../internal/write/temp_name.ts";
import { runtime, useRuntime } from "../../runtime/mod.ts";
import { isWindows, test } from "../support/test.ts";

test("resolveFrom() on Windows resolves like path.win32.resolve()", () => {
  const from = (directory: string, path: string) => resolveFrom(directory, path, true);
  assertEquals(from("C:\\work", "foo"), "C:\\work\\foo");
  assertEquals(from("C:\\work", "C:foo"), "C:\\work\\foo");
  assertEquals(from("C:\\work", "c:..\\foo"), "c:\\foo");
  assertEquals(from("C:\\work", "D:foo"), "D:\\foo");
  assertEquals(from("D:\\links", "\\data\\x"), "D:\\data\\x");
  assertEquals(from("C:\\work", "D:/a/./b//c"), "D:\\a\\b\\c");
  assertEquals(from("\\\\host\\share\\a", "\\b"), "\\\\host\\share\\b");
  assertEquals(from("C:\\work", "\\\\?\\C:\\a."), "\\\\?\\C:\\a.");
  assertEquals(from("C:\\work", "foo/"), "C:\\work\\foo\\");
  assertEquals(from("C:\\work", "\\"), "C:\\");
});

test("resolveFrom() drops a leading `.` and leaves `..` to the kernel on Unix", () => {
  if (isWindows) return;
  for (const path of ["a", "./a", ".//./a"]) assertEquals(resolveFrom("/base", path), "/base/a");
  assertEquals(resolveFrom("/base", "."), "/base");
  assertEquals(resolveFrom("/base", ".a/./b"), "/base/.a/./b");
  assertEquals(resolveFrom("/base", "../foo"), "/base/../foo");
  assertEquals(resolveFrom("/base", "/a/../b"), "/a/../b");
  assertEquals(resolveFrom("/base", "C:foo", false), "/base/C:foo");
});

test("faultOnWindows() finds names for which Deno and Node open different files", () => {
  const bad = ["a*b", "a:b", 'a"', "a<", "a>", "a|", "a?", "a\n", "name.", "name ", "...", "NUL"];
  bad.push("nul.txt", "con", "Aux .tar.gz", "COM1", "lpt9.x", "COM²", "CONIN$");
  for (const name of bad) assert(faultOnWindows(name) !== undefined, name);
  for (const name of [".a", "a.b", "nulls", "COM", "COM10", "con_", "ä b", "a-con", "[a]"]) {
    assertEquals(faultOnWindows(name), undefined, name);
  }
});

test("absolutePath() accepts and rejects the same URLs as fileURLToPath()", () => {
  if (isWindows) return;
  assertEquals(absolutePath(new URL("file:///a%20b/c%5Cd")), "/a b/c\\d");
  assertEquals(absolutePath(new URL("file://localhost/a")), "/a");
  const bad = ["file:///a%2Fb", "file://host/a", "file:///a%zz", "file:///a%ff", "https://host/a"];
  for (const url of bad) {
    assertThrows(() => absolutePath(new URL(url)), TypeError, `Invalid path '${url}': `);
  }
});

test("pathKey() is the same for all spellings of a path, including case and accents where those are folded", () => {
  const real = runtime;
  const keys = (foldsNames: boolean, ...paths: string[]) => {
    useRuntime({ ...real, foldsNames });
    return new Set(paths.map((one) => pathKey(one.replaceAll("/", path.sep)))).size;
  };
  try {
    assertEquals(keys(false, "/a/b", "/a/./b", "/a//b", "/a/c/../b"), 1);
    assertEquals(keys(false, "/a/b", "/a/B"), 2);
    assertEquals(keys(false, "/a/.b", "/a/..b", "/a/b..", "/a/...", "/a/b."), 5);
    assertEquals(keys(true, "/a/b", "/A/B"), 1);
    assertEquals(keys(true, "/\u00c5", "/A\u030a", "/\u212b", "/\u00e5"), 1);
    assertEquals(keys(true, "/όσος", "/ΌΣΟΣ", "/όσοσ"), 1);
  } finally {
    useRuntime(real);
  }
});

test("tempPath() returns names within the length limits of every file system", () => {
  for (const letter of ["a", "é", "語", "😀"]) {
    for (let length = 1; length <= 255; length++) {
      const name = path.basename(tempPath(path.resolve(letter.repeat(length))));
      assert(new TextEncoder().encode(name).length <= 143, name);
      assert(isTempName(name) && !/\p{Surrogate}/u.test(name), name);
    }
  }
});
