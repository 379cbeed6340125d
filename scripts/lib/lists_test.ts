import { assertEquals } from "@std/assert";
import * as fs from "node:fs";
import { unlistedFiles } from "./lists.ts";

Deno.test("unlistedFiles() finds what a document that lists files leaves out", () => {
  const dir = Deno.makeTempDirSync();
  try {
    for (const name of ["internal", "runtime", "tests"]) fs.mkdirSync(`${dir}/${name}`);
    for (
      const name of ["mod.ts", "internal/a.ts", "runtime/b.ts", "tests/c_test.ts", "tests/d.ts"]
    ) {
      fs.writeFileSync(`${dir}/${name}`, "");
    }
    fs.writeFileSync(`${dir}/ARCHITECTURE.md`, "`mod.ts` `b.ts` a.ts");
    fs.writeFileSync(`${dir}/CONTRIBUTING.md`, "| `c_test.ts` |");
    assertEquals(unlistedFiles(dir), ["ARCHITECTURE.md does not name a.ts"]);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
