import * as fs from "node:fs";
import * as path from "node:path";
import ts from "typescript";
import npmImports from "./npm_imports.json" with { type: "json" };
import { entryPoints, packageJson } from "./package.ts";
import { nodeModules, root, setUp } from "./setup.mjs";

const STD = path.join(nodeModules, "deno-std");

/**
 * Does what dnt does, for where JSR cannot be reached: writes the sources, the tests and what they
 * import of the standard library as ES modules and as CommonJS, with declarations.
 */
export function transpile(outDir: string): void {
  setUp();
  const tests = fs.readdirSync(path.join(root, "tests"))
    .filter((name) => name.endsWith("_test.ts")).map((name) => path.join(root, "tests", name));
  const sources = reach(entryPoints.map((entry) => path.join(root, entry.path)));
  for (const source of reach([...sources, ...tests])) {
    write(path.join(outDir, "esm", target(source)), emit(source, ts.ModuleKind.ESNext));
    write(path.join(outDir, "script", target(source)), emit(source, ts.ModuleKind.CommonJS));
  }
  for (const [source, declaration] of declare(sources.filter((name) => name.endsWith(".ts")))) {
    const name = target(source).replace(/\.js$/, ".d.ts");
    for (const dir of ["esm", "script"]) write(path.join(outDir, dir, name), declaration);
  }
  write(path.join(outDir, "esm", "package.json"), JSON.stringify({ type: "module" }));
  write(path.join(outDir, "script", "package.json"), JSON.stringify({ type: "commonjs" }));
  write(path.join(outDir, "package.json"), JSON.stringify(packageJson, undefined, 2));
  // For the tests: where `npm install` in npm/ would put it.
  fs.mkdirSync(path.join(outDir, "node_modules"));
  for (const name of Object.keys(packageJson.dependencies)) {
    fs.symlinkSync(
      path.join(nodeModules, name),
      path.join(outDir, "node_modules", name),
      "junction",
    );
  }
}

/** All files that these lead to. */
function reach(files: string[]): string[] {
  const reached = new Set(files);
  for (const file of reached) {
    const { importedFiles } = ts.preProcessFile(fs.readFileSync(file, "utf8"), true, true);
    for (const { fileName } of importedFiles) {
      const imported = resolve(fileName, file);
      if (imported !== undefined) reached.add(imported);
    }
  }
  return [...reached];
}

/** The file that a specifier leads to; undefined for a package or a module of Node's. */
function resolve(specifier: string, from: string): string | undefined {
  if (specifier.startsWith(".")) return path.resolve(path.dirname(from), specifier);
  const mapped = (npmImports.imports as Record<string, string>)[specifier];
  if (mapped === undefined) return undefined;
  const std = mapped.replace(/^npm:deno-std@[^/]+/, "");
  return mapped === std ? path.join(root, "scripts", mapped) : path.join(STD, std);
}

/** Where in the output the code of a file goes. */
function target(file: string): string {
  const inStd = path.relative(STD, file);
  if (!inStd.startsWith("..")) return path.join("deps", "std", inStd);
  const own = path.relative(root, file).replace(/\.ts$/, ".js");
  return own.startsWith("scripts") ? path.join("deps", "std", path.basename(own)) : own;
}

function rewrite(specifier: string, from: string): string {
  const to = resolve(specifier, from);
  if (to === undefined) return specifier;
  const relative = path.relative(path.dirname(target(from)), target(to)).replaceAll("\\", "/");
  return relative.startsWith(".") ? relative : `./${relative}`;
}

function emit(file: string, module: ts.ModuleKind): string {
  const { outputText } = ts.transpileModule(fs.readFileSync(file, "utf8"), {
    fileName: file,
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module,
      esModuleInterop: true,
      allowJs: true,
    },
    transformers: { before: [rewriteImports(file, module)] },
  });
  return outputText;
}

/** Makes specifiers those of the output, and `import.meta.url` something that CommonJS has. */
function rewriteImports(
  file: string,
  module: ts.ModuleKind,
): ts.TransformerFactory<ts.SourceFile> {
  return (context) => (sourceFile) => {
    const { factory } = context;
    const specifier = (node: ts.Expression) =>
      ts.isStringLiteral(node) ? factory.createStringLiteral(rewrite(node.text, file)) : node;
    const visit = (node: ts.Node): ts.Node => {
      if (ts.isImportDeclaration(node)) {
        const { modifiers, importClause, moduleSpecifier, attributes } = node;
        const to = specifier(moduleSpecifier);
        return factory.updateImportDeclaration(node, modifiers, importClause, to, attributes);
      }
      if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
        const { modifiers, isTypeOnly, exportClause, moduleSpecifier, attributes } = node;
        const to = specifier(moduleSpecifier);
        return factory.updateExportDeclaration(
          node,
          modifiers,
          isTypeOnly,
          exportClause,
          to,
          attributes,
        );
      }
      if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
        const [argument, ...rest] = node.arguments;
        const to = [specifier(argument!), ...rest];
        return factory.updateCallExpression(node, node.expression, node.typeArguments, to);
      }
      if (
        module === ts.ModuleKind.CommonJS && ts.isPropertyAccessExpression(node) &&
        node.getText(sourceFile) === "import.meta.url"
      ) {
        return factory.createIdentifier(
          'require("node:url").pathToFileURL(__filename).href',
        );
      }
      return ts.visitEachChild(node, visit, context);
    };
    return ts.visitEachChild(sourceFile, visit, context);
  };
}

/** The declarations of files, by the file. */
function declare(files: string[]): Map<string, string> {
  const declarations = new Map<string, string>();
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    // As ts.transpileDeclaration() has no lib, it declares each [Symbol.dispose] twice.
    lib: ["lib.es2022.d.ts", "lib.esnext.disposable.d.ts", "lib.dom.d.ts"],
    types: [],
    strict: true,
    allowImportingTsExtensions: true,
    isolatedDeclarations: true,
    declaration: true,
    emitDeclarationOnly: true,
    noCheck: true,
  });
  program.emit(undefined, (_name, text, _mark, _onError, sourceFiles) => {
    const file = path.resolve(sourceFiles![0]!.fileName);
    const rewritten = text.replace(
      /(from\s+|import\()"([^"]+)"/g,
      (_, before, specifier) => `${before}"${rewrite(specifier, file)}"`,
    );
    declarations.set(file, rewritten);
  });
  return declarations;
}

function write(file: string, text: string): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}
