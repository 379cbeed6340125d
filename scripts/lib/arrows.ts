import * as fs from "node:fs";
import * as path from "node:path";
import { specifiersOf } from "./specifiers.ts";

/**
 * A room in the repository's architecture: the files that match a pattern. They are all on one
 * floor.
 */
interface Room {
  readonly name: string;
  readonly floor: number;
  readonly files: RegExp;
}

const room = (floor: number, name: string, files: RegExp): Room => ({ name, floor, files });
const folder = (floor: number, name: string): Room => room(floor, name, new RegExp(`^${name}`));

/**
 * The rooms, tried in order; a file belongs to the first one that matches. A file may import only
 * from its own room and from lower floors, so rooms on the same floor must not import each other.
 */
const ROOMS: readonly Room[] = [
  room(0, "runtime/types.ts", /^runtime\/types\.ts$/),
  folder(1, "runtime/shared/"),
  folder(2, "runtime/native/"),
  folder(3, "runtime/deno/"),
  folder(3, "runtime/node/"),
  room(4, "runtime/mod.ts", /^runtime\//),
  folder(5, "internal/base/"),
  folder(6, "internal/lock/"),
  folder(6, "internal/order/"),
  folder(6, "internal/json/"),
  folder(7, "internal/write/"),
  folder(8, "internal/update/"),
  // The command is a program that uses the public API.
  folder(10, "internal/cli/"),
  folder(9, "internal/"),
  room(11, "cli.ts", /^cli\.ts$/),
  room(9, "the public files", /^[^/]+$/),
  folder(12, "scripts/lib/"),
  room(13, "what is not published", /^/),
];

/** Reports each import under `root` that breaks the rules, including type imports. */
export function wrongArrows(root: string): string[] {
  const files = modules(root);
  const imports = new Map(files.map((file) => [file, importsOf(root, file)]));
  const wrong: string[] = [];
  for (const [file, imported] of imports) {
    const own = roomOf(file);
    for (const to of imported) {
      const other = roomOf(to);
      if (other === own || other.floor < own.floor) continue;
      wrong.push(`${file} imports ${to}: ${own.name} must not import from ${other.name}`);
    }
  }
  return [...wrong, ...circles(imports)];
}

function roomOf(file: string): Room {
  return ROOMS.find(({ files }) => files.test(file))!;
}

/** All modules in the repository, relative to its root. */
function modules(root: string, dir = ""): string[] {
  return fs.readdirSync(path.join(root, dir), { withFileTypes: true }).flatMap((entry) => {
    const name = dir === "" ? entry.name : `${dir}/${entry.name}`;
    if (/^\.|^node_modules$|^npm(_test)?$/.test(entry.name)) return [];
    if (entry.isDirectory()) return modules(root, name);
    return /\.m?[jt]s$/.test(entry.name) ? [name] : [];
  }).sort();
}

function importsOf(root: string, file: string): string[] {
  return specifiersOf(file, fs.readFileSync(path.join(root, file), "utf8"))
    .filter(({ text }) => /^\.\.?\/.*\.m?[jt]s$/.test(text))
    .map(({ text }) => path.posix.join(path.posix.dirname(file), text))
    .filter((to) => !to.startsWith("..") && !to.startsWith("npm"));
}

/** Reports each import cycle once. */
function circles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, way: string[]) => {
    const at = way.indexOf(file);
    if (at >= 0) found.push(`circle: ${[...way.slice(at), file].join(" → ")}`);
    else if (!done.has(file)) {
      for (const to of imports.get(file) ?? []) visit(to, [...way, file]);
      done.add(file);
    }
  };
  for (const file of imports.keys()) visit(file, []);
  return found;
}
