import * as fs from "node:fs";
import * as path from "node:path";
import ts from "typescript";
import { filesOf } from "./trees.ts";

/** A phrase that reads like a translation, and its replacement. */
interface Pattern {
  readonly phrase: RegExp;
  readonly instead: string;
}

/** Nouns that "who" may follow. "Who holds the lock" names no actor; "the lock's holder" does. */
const PEOPLE =
  "users?|people|persons?|readers?|callers?|developers?|maintainers?|contributors?|reporters?|administrators?|someone|somebody|anyone|anybody|everyone";

const PATTERNS: readonly Pattern[] = [
  {
    phrase: new RegExp(`(?<!\\b(?:${PEOPLE}),? )\\bwho(?:ever)?\\b(?!')`, "gi"),
    instead: "the caller, the process that …, programs that …",
  },
  { phrase: /\b(?:tell|tells|told|telling)\b/gi, instead: "report, return, say, know, notify" },
  { phrase: /\bat once\b/gi, instead: "immediately, or concurrently" },
  {
    phrase: /\bof (?:this thread|(?:its|their|our|your|his|one's) own)\b/gi,
    instead: "this thread's …, its own …",
  },
  { phrase: /\bbeside\b/gi, instead: "next to, alongside, compared with, in addition to" },
  {
    // Programs may leave files behind.
    phrase: /(?<!\b(?:left|leaves?|leaving)\b[^.;:]{0,40})\bbehind\b|\bin front of\b/gi,
    instead: "after, before",
  },
  {
    phrase:
      /\b(?:held|holds?|needs?|runs?|waits?) still\b|\b(?:runs?|exists?|holds?|waits?) already\b/gi,
    instead: "still held, already running",
  },
  { phrase: /\bmeanwhile\b/gi, instead: "in the meantime, or nothing" },
  { phrase: /\banew\b|\bagain and again\b/gi, instead: "again, repeatedly" },
  { phrase: /\bon (?:its|their) way\b|\bunder way\b/gi, instead: "in flight, in progress" },
  {
    phrase: /\bby now\b|\bof now\b|\bas it was to be\b/gi,
    instead: "current, previous, final",
  },
  {
    phrase:
      /(?<!\bthere )\b(?:is|are|was|were) no (?!longer|more|one\b|such\b|[a-z]+er\b)[a-z]+\b/gi,
    instead: "is not a …, there is no …",
  },
  { phrase: /\bwants\b/gi, instead: "requires, asks for" },
  {
    phrase:
      /(?:^|[.;:*/]) (?:So|Nor) (?:is|are|does|do|did|has|have|can|may|it is)\b|(?:^|[.;:*/]) Else\b/gm,
    instead: "normal word order; Otherwise",
  },
];

/** A place where a phrase was found. */
export interface Finding {
  readonly file: string;
  readonly line: number;
  readonly found: string;
  readonly instead: string;
}

/**
 * Finds the phrases in all prose under `root`: Markdown, comments, and strings of several words.
 */
export function proseFindings(root: string): Finding[] {
  return proseFiles(root).flatMap((file) => {
    return findingsIn(file, fs.readFileSync(path.join(root, file), "utf8"));
  });
}

/** Phrases that match a pattern but have no better wording. */
const ALLOWED: readonly [file: string, phrase: RegExp][] = [];

/** Finds the phrases in one file's prose. */
export function findingsIn(file: string, text: string): Finding[] {
  const prose = file.endsWith(".md")
    ? proseOfMarkdown(text)
    : /\.m?[jt]s$/.test(file)
    ? proseOfScript(file, text)
    : proseOfShell(text);
  // Replace line breaks and comment markers with spaces, so that phrases match across lines.
  const joined = prose.replace(
    /\n(?!\n)[ \t]*(?:\*|\/\/|#|>)?/g,
    (mark) => " ".repeat(mark.length),
  );
  return PATTERNS.flatMap(({ phrase, instead }) =>
    Array.from(joined.matchAll(spaced(phrase)), (match) => ({
      file,
      line: text.slice(0, match.index).split("\n").length,
      found: match[0].trim().replace(/\s+/g, " "),
      instead,
    })).filter(({ found }) => !ALLOWED.some(([name, ok]) => name === file && ok.test(found)))
  ).sort((one, other) => one.line - other.line);
}

/** Returns a pattern that allows any number of spaces between words. */
function spaced({ source, flags }: RegExp): RegExp {
  return new RegExp(source.replaceAll(" ", " +"), flags);
}

function proseFiles(root: string): string[] {
  const top = fs.readdirSync(root, { withFileTypes: true });
  const folders = top.filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .filter((name) => !/^(?:\.git|node_modules|npm|npm_test)$/.test(name));
  const files = folders.flatMap((dir) => filesOf(path.join(root, dir)).map((f) => `${dir}/${f}`));
  return [...top.filter((entry) => entry.isFile()).map(({ name }) => name), ...files]
    .filter((file) => /\.(?:md|ts|mjs|js|sh|ya?ml)$|^\.ci\/run$/.test(file))
    // These files are generated and listed in .gitignore.
    .filter((file) => !/^scripts\/site\/(?:api|\.vitepress\/(?:cache|dist|\.temp))\//.test(file))
    // These quote the patterns.
    .filter((file) => !/^scripts\/lib\/prose(?:_test)?\.ts$/.test(file))
    .sort();
}

/** Counts the findings per folder, in descending order. */
export function countByFolder(findings: readonly Finding[]): string {
  const counts = new Map<string, number>();
  for (const { file } of findings) {
    const folder = file.includes("/") ? `${path.dirname(file)}/` : file;
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return Array.from(counts, ([folder, count]) => ({ folder, count }))
    .sort((one, other) => other.count - one.count)
    .map(({ folder, count }) => `${folder} ${count}`).join(", ");
}

/** Replaces text with spaces, so that the positions of any text after it do not change. */
function blanked(text: string): string {
  return text.replace(/[^\n]/g, " ");
}

function proseOfMarkdown(text: string): string {
  return text.replace(/^( *)(```+|~~~+)[\s\S]*?^ *\2 *$/gm, blanked)
    .replace(/`[^`\n]*`/g, blanked)
    .replace(/\]\([^)\n]*\)/g, blanked);
}

/** Returns the comments and the strings of several words. */
function proseOfScript(file: string, text: string): string {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
  const prose = blanked(text).split("");
  const code = text.split("");
  const keep = (from: number, to: number) => {
    for (let i = from; i < to; i++) prose[i] = text[i]!;
  };
  const visit = (node: ts.Node) => {
    if (
      ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node) ||
      ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node) ||
      ts.isRegularExpressionLiteral(node)
    ) {
      const start = node.getStart(source);
      for (let i = start; i < node.end; i++) if (code[i] !== "\n") code[i] = " ";
      const isProse = !ts.isRegularExpressionLiteral(node) && /[a-z]+ [a-z]+ /i.test(node.text);
      if (isProse) keep(start + 1, node.end - 1);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  for (const { 0: comment, index } of code.join("").matchAll(/\/\/[^\n]*|\/\*[\s\S]*?\*\//g)) {
    keep(index, index + comment.length);
  }
  return prose.join("").replace(/`[^`\n]*`/g, blanked).replace(
    /@example[\s\S]*?(?=\*\/|\n *\* @)/g,
    blanked,
  );
}

function proseOfShell(text: string): string {
  return text.replace(/^.*$/gm, (line) => {
    const start = line.search(/(?<=^|\s)#(?!!)/);
    return start < 0 ? blanked(line) : blanked(line.slice(0, start)) + line.slice(start);
  });
}
