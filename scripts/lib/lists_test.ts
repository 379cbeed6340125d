import { assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { unlistedFiles } from "./lists.ts";

Deno.test("unlistedFiles() reports unlisted files, and folders with too many files", () => {
  const dir = Deno.makeTempDirSync();
  try {
    const files = ["internal/x/a.ts", "runtime/b.ts", "tests/one/c_test.ts", "tests/two/d_test.ts"];
    const many = Array.from({ length: 25 }, (_, i) => `internal/full/${i}.ts`);
    for (const name of [...files, ...many]) {
      fs.mkdirSync(path.join(dir, path.dirname(name)), { recursive: true });
      fs.writeFileSync(path.join(dir, name), "");
    }
    const named = many.map((name) => `\`${path.basename(name)}\``).join(" ");
    fs.writeFileSync(`${dir}/ARCHITECTURE.md`, `${named} \`b.ts\` a.ts`);
    fs.writeFileSync(`${dir}/CONTRIBUTING.md`, "| `tests/one/` |");
    assertEquals(unlistedFiles(dir), [
      "ARCHITECTURE.md does not name internal/x/a.ts",
      "CONTRIBUTING.md does not name tests/two/",
      "internal/full holds 25 files, more than 24",
    ]);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
