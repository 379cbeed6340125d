import * as fs from "node:fs";
import * as path from "node:path";
import { filesOf } from "./trees.ts";

/**
 * The maximum number of files in a folder; with more, it is hard to see which ones belong together.
 */
const MAX_FILES = 24;

/**
 * Reports files and folders that the documentation does not list, and folders with too many files.
 */
export function unlistedFiles(root: string): string[] {
  const read = (document: string) => fs.readFileSync(path.join(root, document), "utf8");
  const [architecture, contributing] = [read("ARCHITECTURE.md"), read("CONTRIBUTING.md")];
  const sources = ["internal", "runtime"].flatMap((dir) => filesIn(root, dir));
  const found = sources.filter((file) => !architecture.includes(`\`${path.basename(file)}\``))
    .map((file) => `ARCHITECTURE.md does not name ${file}`);
  const tests = filesIn(root, "tests");
  for (const dir of new Set(tests.map((file) => `${path.dirname(file)}/`))) {
    if (!contributing.includes(`\`${dir}\``)) found.push(`CONTRIBUTING.md does not name ${dir}`);
  }
  const counts = new Map<string, number>();
  for (const dir of [...sources, ...tests].map((file) => path.dirname(file))) {
    counts.set(dir, (counts.get(dir) ?? 0) + 1);
  }
  for (const [dir, count] of counts) {
    if (count > MAX_FILES) found.push(`${dir} holds ${count} files, more than ${MAX_FILES}`);
  }
  return found;
}

function filesIn(root: string, dir: string): string[] {
  return filesOf(path.join(root, dir)).filter((name) => name.endsWith(".ts"))
    .map((name) => `${dir}/${name}`);
}
