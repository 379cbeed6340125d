import { assertEquals } from "@std/assert";
import * as fs from "node:fs";
import { brokenLinks } from "./links.ts";

function check(text: string): string[] {
  const dir = Deno.makeTempDirSync();
  try {
    fs.mkdirSync(`${dir}/docs`);
    fs.writeFileSync(
      `${dir}/docs/other.md`,
      "# Other\n## The `lock`, in short\n## Same\n## Same\n",
    );
    fs.writeFileSync(`${dir}/README.md`, text);
    return brokenLinks(dir, ["README.md"]);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
}

Deno.test("brokenLinks() accepts files, headings and other hosts", () => {
  const links = "[a](docs/other.md) [b](#here) [c](docs/other.md#the-lock-in-short) " +
    '[d](docs/other.md#same-1) [e](https://example.com/x#y) [f](docs "Title") [g][ref]';
  assertEquals(check(`# Here\n${links}\n\n[ref]: docs/other.md\n`), []);
});

Deno.test("brokenLinks() reports missing files and headings", () => {
  const links = "[a](docs/none.md) [b](#nowhere) [c](docs/other.md#nowhere) [d][ref]";
  assertEquals(check(`# Here\n${links}\n\n[ref]: none.md\n`), [
    "README.md: docs/none.md leads nowhere",
    "README.md: #nowhere leads nowhere",
    "README.md: docs/other.md#nowhere leads nowhere",
    "README.md: none.md leads nowhere",
  ]);
});

Deno.test("brokenLinks() ignores code", () => {
  assertEquals(check("`[a](none.md)`\n\n```ts\n[b](none.md)\n```\n"), []);
});
