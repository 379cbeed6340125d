import * as fs from "node:fs";
import * as path from "node:path";
import ts from "typescript";
import { stdFile } from "./imports.ts";
import { importNodeGlobals } from "./node_globals.ts";
import { entryPoints, nestedPackageJson } from "./package.ts";
import { nodeModules, root, setUp } from "./setup.mjs";
import { specifiersOf } from "./specifiers.ts";
import { filesOf } from "./trees.ts";

const STD = path.join(nodeModules, "deno-std");

/** Compiler options, shared with dnt so that both builds produce the same files. */
export const TARGET = "ES2022";
export const LIBS = ["ES2022", "ESNext.Disposable", "DOM", "DOM.AsyncIterable"] as const;

/** Returns the package's replacements for imports from the standard library. */
export function stdMappings(): Record<string, string> {
  const found: Record<string, string> = {};
  for (const file of reach(packageFiles(), true).keys()) {
    for (const { text } of specifiersOf(file, fs.readFileSync(file, "utf8"))) {
      const mapped = stdMapping(text);
      if (mapped !== undefined) found[text] = mapped;
    }
  }
  return found;
}

/**
 * Returns the replacement for a standard library module: one of Node's modules or one of our files.
 */
function stdMapping(specifier: string): string | undefined {
  if (specifier.startsWith("@std/path/")) return "node:path";
  if (specifier === "@std/fs/ensure-dir") return `./${stdFile(specifier)}`;
  return undefined;
}

/** Writes the library as ES modules and as CommonJS, with declarations, as dnt does. */
export function transpilePackage(outDir: string): void {
  setUp();
  compile(outDir, packageFiles(), true);
  for (const [dir, json] of Object.entries(nestedPackageJson)) writeJson(outDir, dir, json);
}

/** Writes the library, its tests, and the parts of the standard library that they use. */
export function transpileTests(outDir: string): void {
  setUp();
  const tests = filesOf(path.join(root, "tests"))
    .filter((name) => name.endsWith("_test.ts")).map((name) => path.join(root, "tests", name));
  // The command is listed separately: no test imports it, since importing it would run it.
  compile(outDir, [...tests, path.join(root, "cli.ts")], false);
  for (const [dir, json] of Object.entries(nestedPackageJson)) writeJson(outDir, dir, json);
  link(outDir, "koffi");
  link(outDir, "zod");
}

/**
 * Links a package where `npm install` would put it, so that the build can run in place. npm does
 * not include the link in the tarball.
 */
export function link(outDir: string, name: string): void {
  fs.mkdirSync(path.join(outDir, "node_modules"), { recursive: true });
  const to = path.join(outDir, "node_modules", name);
  if (!fs.existsSync(to)) fs.symlinkSync(path.join(nodeModules, name), to, "junction");
}

function packageFiles(): string[] {
  return entryPoints.map(({ file }) => path.join(root, `${file}.ts`));
}

function writeJson(outDir: string, dir: string, json: object): void {
  fs.writeFileSync(
    path.join(outDir, dir, "package.json"),
    `${JSON.stringify(json, undefined, 2)}\n`,
  );
}

/** Compiles the files and everything they import. For a package, also writes declarations. */
function compile(outDir: string, files: string[], isPackage: boolean): void {
  const sources = reach(files, isPackage);
  for (const [dir, module] of [["esm", ts.ModuleKind.ESNext], ["script", ts.ModuleKind.CommonJS]]) {
    const texts = new Map<string, string>();
    for (const [file, text] of sources) {
      texts.set(
        target(file),
        isPackage ? text : testText(file, text, module === ts.ModuleKind.CommonJS),
      );
    }
    emit(texts, module as ts.ModuleKind, path.join(outDir, dir as string), isPackage);
  }
}

/**
 * Returns the text of the files and everything they import, by path. Rewrites import specifiers to
 * match the output.
 */
function reach(files: string[], isPackage: boolean): Map<string, string> {
  const sources = new Map<string, string>();
  const reached = new Set(files);
  for (const file of reached) {
    let text = fs.readFileSync(file, "utf8");
    if (isPackage) refuse(file, text);
    for (const { text: specifier, start, end } of specifiersOf(file, text).reverse()) {
      const to = resolve(specifier, file, isPackage);
      if (typeof to === "string") reached.add(to);
      const written = typeof to === "string" ? relative(file, to) : to.external;
      text = text.slice(0, start) + written + text.slice(end);
    }
    const command = entryPoints.find((entry) => path.join(root, `${entry.file}.ts`) === file);
    if (command?.isCommand) text = `#!/usr/bin/env node\n${text.replace(/^#!.*\n/, "")}`;
    sources.set(file, text);
  }
  return sources;
}

/**
 * Features for which dnt would insert polyfills and shims. The polyfills differ between dnt
 * versions, and the one for `import.meta` fails in `node -e` and in bundles.
 */
const POLYFILLED =
  /\bimport\.meta\b|\bglobalThis\b|\bObject\.hasOwn\b|\bPromise\.withResolvers\b|\bArray\.fromAsync\b/;

function refuse(file: string, text: string): void {
  const lines = text.split("\n");
  for (const [i, line] of lines.entries()) {
    if (!POLYFILLED.test(line) || /^ *(\/\/|\/?\*)/.test(line)) continue;
    if (lines[i - 1]?.includes("dnt-shim-ignore")) continue;
    throw new Error(`${file}:${i + 1}: dnt would insert a polyfill or a shim for this`);
  }
}

/** Resolves a specifier to a file, or to a module that remains external. */
function resolve(
  specifier: string,
  from: string,
  isPackage: boolean,
): string | { external: string } {
  if (specifier.startsWith(".")) return path.resolve(path.dirname(from), specifier);
  if (!specifier.startsWith("@std/")) return { external: specifier };
  const mapped = stdMapping(specifier);
  if (mapped?.startsWith("./")) return path.join(root, mapped);
  if (mapped !== undefined) return { external: mapped };
  if (!isPackage) return path.join(STD, stdFile(specifier));
  throw new Error(`${from}: the package carries no copy of ${specifier}`);
}

/** Returns a file's path in the output, with its original extension. */
function target(file: string): string {
  const inStd = path.relative(STD, file);
  return inStd.startsWith("..") ? path.relative(root, file) : path.join("deps", "std", inStd);
}

function relative(from: string, to: string): string {
  const between = path.relative(path.dirname(target(from)), target(to)).replaceAll("\\", "/");
  return (between.startsWith(".") ? between : `./${between}`).replace(/\.ts$/, ".js");
}

/**
 * Returns the text of a file for the build with tests. Adds imports of globals from Node's modules
 * to library files, as joinModules() does. For CommonJS, replaces `import.meta.url` in the other
 * files.
 */
function testText(file: string, text: string, isCommonJs: boolean): string {
  const isLibrary = !/^(tests|deps)[\\/]/.test(target(file));
  if (isLibrary) return importNodeGlobals(file, text);
  if (!isCommonJs) return text;
  // CommonJS has no import.meta.url.
  return text.replaceAll("import.meta.url", 'require("node:url").pathToFileURL(__filename).href');
}

function emit(
  texts: ReadonlyMap<string, string>,
  module: ts.ModuleKind,
  outDir: string,
  declaration: boolean,
): void {
  const isCommonJs = module === ts.ModuleKind.CommonJS;
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget[TARGET],
    // Only declarations depend on the types in other files.
    ...declaration ? { lib: LIBS.map((name) => `lib.${name.toLowerCase()}.d.ts`) } : {
      noLib: true,
      noResolve: true,
    },
    module,
    // Generate the same code as dnt.
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    esModuleInterop: isCommonJs,
    allowSyntheticDefaultImports: true,
    useDefineForClassFields: true,
    isolatedModules: true,
    strict: true,
    allowJs: true,
    types: [],
    declaration,
    // The sources have already been type-checked.
    noCheck: true,
    rootDir: "/src",
    outDir,
  };
  const sources = new Map([...texts].map(([name, text]) => [
    `/src/${name.replaceAll("\\", "/")}`,
    text,
  ]));
  const base = ts.createCompilerHost(options);
  const host: ts.CompilerHost = {
    ...base,
    getCurrentDirectory: () => "/src",
    fileExists: (name) => sources.has(name) || base.fileExists(name),
    readFile: (name) => sources.get(name) ?? base.readFile(name),
    getSourceFile: (name, ...rest) => {
      const text = sources.get(name);
      return text === undefined
        ? base.getSourceFile(name, ...rest)
        : ts.createSourceFile(name, text, rest[0]);
    },
    writeFile: (name, text) => {
      fs.mkdirSync(path.dirname(name), { recursive: true });
      fs.writeFileSync(name, text);
    },
  };
  const { diagnostics } = ts.createProgram([...sources.keys()], options, host).emit();
  if (diagnostics.length > 0) throw new Error(ts.formatDiagnostics(diagnostics, host));
}
