import * as fs from "node:fs";
import * as path from "node:path";

/** In what two directories differ, but for node_modules: one line for each file. */
export function differences(one: string, other: string): string[] {
  const [a, b] = [filesOf(one), filesOf(other)];
  return [...new Set([...a, ...b])].sort().flatMap((file) => {
    if (!a.includes(file)) return `${file} is only in ${other}`;
    if (!b.includes(file)) return `${file} is only in ${one}`;
    const [x, y] = [one, other].map((dir) => fs.readFileSync(path.join(dir, file)));
    return x!.equals(y!) ? [] : `${file} differs between ${one} and ${other}`;
  });
}

/** The files below a directory, by their path from it, but for node_modules. */
export function filesOf(dir: string, below = ""): string[] {
  return fs.readdirSync(path.join(dir, below), { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === "node_modules") return [];
    const name = below === "" ? entry.name : `${below}/${entry.name}`;
    return entry.isDirectory() ? filesOf(dir, name) : [name];
  });
}
