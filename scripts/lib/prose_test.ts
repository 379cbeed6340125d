import { assertEquals } from "@std/assert";
import { findingsIn, proseFindings } from "./prose.ts";
import { root } from "./setup.mjs";

const found = (file: string, text: string) =>
  findingsIn(file, text).map(({ line, found }) => `${line} ${found}`);

Deno.test("findingsIn() ignores code and link targets in Markdown", () => {
  const text = "Who holds it\n\n```sh\nwho am i\n```\n\nand `who`, [told](who.md),\nunder\nway.";
  assertEquals(found("page.md", text), ["1 Who", "7 told", "8 under way"]);
});

Deno.test("findingsIn() finds phrases in comments and in strings of several words", () => {
  const text = [
    'const who = "who", url = "http://x/who"; // tells it',
    "/**",
    " * Those who wait are all served at",
    " * once. See `who`.",
    " */",
    "throw new Error(`The lock ${who} is held still by another`);",
    "const pattern = /who \\/\\/ told/;",
  ].join("\n");
  assertEquals(found("code.ts", text), [
    "1 tells",
    "3 who",
    "3 at once",
    "6 held still",
  ]);
});

Deno.test("findingsIn() finds phrases in comments of shell scripts and workflows", () => {
  assertEquals(found("run.sh", "#!/bin/who\nwho # at once\n"), ["2 at once"]);
  assertEquals(found("ci.yml", "# meanwhile\nname: who\n"), ["1 meanwhile"]);
});

Deno.test("findingsIn() allows 'behind' in 'left behind'", () => {
  const text = "files left behind, a file that it leaves behind; each waits behind the others";
  assertEquals(found("page.md", text), ["1 behind"]);
});

Deno.test("findingsIn() allows 'who' after a word for people", () => {
  assertEquals(found("page.md", "users who lock, someone who waits, whoever asks"), ["1 whoever"]);
});

Deno.test("proseFindings() finds nothing in its own source files", () => {
  assertEquals(proseFindings(root).filter(({ file }) => file.includes("lib/prose")), []);
});
