import * as fs from "node:fs";
import * as path from "node:path";
import { specifiersOf } from "./specifiers.ts";

/**
 * A component in the repository's architecture: the files that match a pattern. They are all in one
 * layer.
 */
interface Component {
  readonly name: string;
  readonly layer: number;
  readonly files: RegExp;
}

const component = (layer: number, name: string, files: RegExp): Component => ({
  name,
  layer,
  files,
});
const folder = (layer: number, name: string): Component =>
  component(layer, name, new RegExp(`^${name}`));

/**
 * The components, tried in order; a file belongs to the first one that matches. A file may import
 * only from its own component and from lower layers. Components in the same layer must not import
 * each other.
 */
const COMPONENTS: readonly Component[] = [
  component(0, "runtime/types.ts", /^runtime\/types\.ts$/),
  folder(1, "runtime/shared/"),
  folder(2, "runtime/native/"),
  folder(3, "runtime/deno/"),
  folder(3, "runtime/node/"),
  component(4, "runtime/mod.ts", /^runtime\//),
  folder(5, "internal/base/"),
  folder(6, "internal/lock/"),
  folder(6, "internal/order/"),
  folder(6, "internal/json/"),
  folder(7, "internal/write/"),
  folder(8, "internal/update/"),
  // The command is a program that uses the public API.
  folder(10, "internal/cli/"),
  folder(9, "internal/"),
  component(11, "cli.ts", /^cli\.ts$/),
  component(9, "the public files", /^[^/]+$/),
  folder(12, "scripts/lib/"),
  component(13, "what is not published", /^/),
];

/** Reports each import under `root` that breaks the rules, including type imports. */
export function wrongArrows(root: string): string[] {
  const files = modules(root);
  const imports = new Map(files.map((file) => [file, importsOf(root, file)]));
  const wrong: string[] = [];
  for (const [file, imported] of imports) {
    const own = componentOf(file);
    for (const to of imported) {
      const other = componentOf(to);
      if (other === own || other.layer < own.layer) continue;
      wrong.push(`${file} imports ${to}: ${own.name} must not import from ${other.name}`);
    }
  }
  return [...wrong, ...cycles(imports)];
}

function componentOf(file: string): Component {
  return COMPONENTS.find(({ files }) => files.test(file))!;
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
function cycles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, way: string[]) => {
    const at = way.indexOf(file);
    if (at >= 0) found.push(`cycle: ${[...way.slice(at), file].join(" → ")}`);
    else if (!done.has(file)) {
      for (const to of imports.get(file) ?? []) visit(to, [...way, file]);
      done.add(file);
    }
  };
  for (const file of imports.keys()) visit(file, []);
  return found;
}
