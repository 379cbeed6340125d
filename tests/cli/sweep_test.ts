import { assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { inTempDir, list } from "../support/dir.ts";
import { test } from "../support/test.ts";
import { run } from "./command.ts";

test("`sweep` removes temporary files older than --older-than, and prints their paths", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, ".file.0123456789abcdef.tmp");
    fs.writeFileSync(file, "half");
    assertEquals(await run(dir, ["sweep", dir]), { code: 0, out: "", err: "" });
    const swept = await run(dir, ["sweep", "--older-than", "0s", dir]);
    assertEquals(swept, { code: 0, out: `${file}\n`, err: "" });
    assertEquals(list(dir), []);
  }));

test("`sweep` exits with 74 when the directory is missing", () =>
  inTempDir(async (dir) => {
    const { code, out } = await run(dir, ["sweep", "missing"]);
    assertEquals([code, out], [74, ""]);
  }));

test("`sweep --recursive` also sweeps subdirectories", () =>
  inTempDir(async (dir) => {
    const nested = path.join(dir, "a", "b");
    fs.mkdirSync(nested, { recursive: true });
    const file = path.join(nested, ".file.0123456789abcdef.tmp");
    fs.writeFileSync(file, "half");
    const end = await run(dir, ["sweep", "--recursive", "--older-than", "0s", dir]);
    assertEquals(end, { code: 0, out: `${file}\n`, err: "" });
    assertEquals(list(nested), []);
  }));
