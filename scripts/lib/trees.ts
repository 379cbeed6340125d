import * as fs from "node:fs";
import * as path from "node:path";

/** Lists the differences between two directories, one line per file; node_modules is ignored. */
export function differences(one: string, other: string): string[] {
  const [a, b] = [filesOf(one), filesOf(other)];
  return [...new Set([...a, ...b])].sort().flatMap((file) => {
    if (!a.includes(file)) return `${file} is only in ${other}`;
    if (!b.includes(file)) return `${file} is only in ${one}`;
    const [x, y] = [one, other].map((dir) => fs.readFileSync(path.join(dir, file)));
    return x!.equals(y!) ? [] : `${file} differs between ${one} and ${other}`;
  });
}

/** Returns the files under a directory, by relative path; node_modules is ignored. */
export function filesOf(dir: string, below = ""): string[] {
  return fs.readdirSync(path.join(dir, below), { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === "node_modules") return [];
    const name = below === "" ? entry.name : `${below}/${entry.name}`;
    return entry.isDirectory() ? filesOf(dir, name) : [name];
  });
}
