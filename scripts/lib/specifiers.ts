import ts from "typescript";

/** A module specifier and its position in the text. */
export interface Specifier {
  readonly text: string;
  /** The text between the quotes. */
  readonly start: number;
  readonly end: number;
}

/**
 * Returns all specifiers in a module: in imports, exports, import types, `import()` and
 * `require()`.
 */
export function specifiersOf(fileName: string, text: string): Specifier[] {
  const found: Specifier[] = [];
  const source = ts.createSourceFile(fileName, text, ts.ScriptTarget.Latest, true);
  const add = (node: ts.Node | undefined) => {
    if (node === undefined || !ts.isStringLiteralLike(node)) return;
    found.push({ text: node.text, start: node.getStart(source) + 1, end: node.end - 1 });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier);
    else if (ts.isExternalModuleReference(node)) add(node.expression);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal);
    } else if (ts.isCallExpression(node)) {
      const { expression } = node;
      const imports = expression.kind === ts.SyntaxKind.ImportKeyword ||
        ts.isIdentifier(expression) && expression.text === "require";
      if (imports) add(node.arguments[0]);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}
