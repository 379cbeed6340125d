import ts from "typescript";

/**
 * Web globals that the npm build imports from Node's modules instead, because Jest 27, jsdom and
 * bare `node:vm` contexts lack some of them or provide different ones under the same name.
 */
const NODE_GLOBALS: ReadonlyMap<string, string> = new Map([
  ["ReadableStream", 'import { ReadableStream } from "node:stream/web";'],
  ["TextDecoder", 'import { TextDecoder } from "node:util";'],
  ["TextEncoder", 'import { TextEncoder } from "node:util";'],
  ["URL", 'import { URL } from "node:url";'],
  ["performance", 'import { performance } from "node:perf_hooks";'],
]);

/**
 * Returns a module's text with an import added before its first line of code for each of these
 * globals that the module uses.
 */
export function importNodeGlobals(fileName: string, text: string): string {
  const source = ts.createSourceFile(fileName, text, ts.ScriptTarget.Latest, true);
  const used = new Set<string>();
  const imported = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node)) return;
    if (ts.isImportSpecifier(node)) imported.add(node.name.text);
    else if (ts.isIdentifier(node) && NODE_GLOBALS.has(node.text) && isReference(node)) {
      used.add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  const imports = [...used].filter((name) => !imported.has(name)).sort().map((name) =>
    NODE_GLOBALS.get(name)
  );
  const start = text.startsWith("#!") ? text.indexOf("\n") + 1 : 0;
  return text.slice(0, start) + imports.map((line) => `${line}\n`).join("") + text.slice(start);
}

/** Whether an identifier refers to a variable rather than naming a member. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.name !== node;
  if (ts.isPropertyAssignment(parent)) return parent.name !== node;
  return !ts.isClassElement(parent) && !ts.isInterfaceDeclaration(parent) &&
    !ts.isTypeElement(parent);
}
