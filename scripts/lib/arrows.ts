import * as fs from "node:fs";
import * as path from "node:path";
import { specifiersOf } from "./specifiers.ts";

/** Of each layer the files and how high it is; a file imports from its own height and below. */
const LAYERS: readonly { files: RegExp; height: number; name: string }[] = [
  { files: /^runtime\//, height: 0, name: "runtime/" },
  { files: /^internal\//, height: 1, name: "internal/" },
  { files: /^[^/]+$/, height: 2, name: "a public file" },
  { files: /^scripts\/lib\//, height: 3, name: "scripts/lib/" },
  { files: /^/, height: 4, name: "what is not published" },
];

/** What is wrong with the imports below `root`, those of types included: one line for each. */
export function wrongArrows(root: string): string[] {
  const files = modules(root);
  const imports = new Map(files.map((file) => [file, importsOf(root, file)]));
  const wrong: string[] = [];
  for (const [file, imported] of imports) {
    const own = layer(file);
    for (const to of imported) {
      const other = layer(to);
      if (other.height > own.height) {
        wrong.push(`${file} imports ${to}: ${own.name} must not import from ${other.name}`);
      }
    }
  }
  return [...wrong, ...circles(imports)];
}

function layer(file: string): typeof LAYERS[number] {
  return LAYERS.find(({ files }) => files.test(file))!;
}

/** All modules of the repository, by their path from its top. */
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

/** Each circle of imports, once. */
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
