import * as fs from "node:fs";
import * as path from "node:path";

/** The documents that list files by their names, and which. */
const LISTS: readonly { document: string; dirs: readonly string[]; files: RegExp }[] = [
  { document: "ARCHITECTURE.md", dirs: ["", "internal", "runtime"], files: /\.ts$/ },
  { document: "CONTRIBUTING.md", dirs: ["tests"], files: /_test\.ts$/ },
];

/** The files below `root` that a document leaves out which lists such files: one line for each. */
export function unlistedFiles(root: string): string[] {
  return LISTS.flatMap(({ document, dirs, files }) => {
    const text = fs.readFileSync(path.join(root, document), "utf8");
    return dirs.flatMap((dir) => fs.readdirSync(path.join(root, dir)))
      .filter((name) => files.test(name) && !text.includes(`\`${name}\``))
      .map((name) => `${document} does not name ${name}`);
  });
}
