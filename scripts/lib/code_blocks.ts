import * as fs from "node:fs";
import * as path from "node:path";
import { markdownFiles } from "./links.ts";

/** A fenced code block in Markdown. */
export interface CodeBlock {
  /** The language in the info string; "none" if the info string contains `ignore`. */
  readonly language: string;
  readonly code: string;
  /** The line on which the block begins. */
  readonly line: number;
}

/** Returns a page's fenced code blocks, including those in lists. */
export function codeBlocks(markdown: string): CodeBlock[] {
  const found = markdown.matchAll(/^( *)```(\w+)( [^\n]*)?\n([\s\S]*?)^ *```$/gm);
  return Array.from(found, ({ 1: indent, 2: language, 3: attributes, 4: code, index }) => ({
    language: attributes?.includes("ignore") ? "none" : language!,
    code: code!.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
    line: markdown.slice(0, index).split("\n").length,
  }));
}

/**
 * Writes each JavaScript block in the pages under `root` to a module in `dir`. Returns the modules'
 * file names.
 */
export function writeScripts(root: string, dir: string): string[] {
  return markdownFiles(root).flatMap((page) => {
    const scripts = codeBlocks(fs.readFileSync(path.join(root, page), "utf8"))
      .filter(({ language }) => language === "js");
    return scripts.map(({ code, line }) => {
      const name = `${page.replaceAll("/", "__")}__line_${line}.mjs`;
      fs.writeFileSync(path.join(dir, name), code);
      return name;
    });
  });
}
