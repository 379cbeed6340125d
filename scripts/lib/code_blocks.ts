import * as fs from "node:fs";
import * as path from "node:path";
import { markdownFiles } from "./links.ts";

/** A fenced block of code in Markdown. */
export interface CodeBlock {
  /** What the info string names; "none" if the block says that it cannot run here. */
  readonly language: string;
  readonly code: string;
  /** The line on which the block begins. */
  readonly line: number;
}

/** The fenced blocks of a page, those in lists too. The word `ignore` in the info string exempts a block. */
export function codeBlocks(markdown: string): CodeBlock[] {
  const found = markdown.matchAll(/^( *)```(\w+)( [^\n]*)?\n([\s\S]*?)^ *```$/gm);
  return Array.from(found, ({ 1: indent, 2: language, 3: attributes, 4: code, index }) => ({
    language: attributes?.includes("ignore") ? "none" : language!,
    code: code!.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
    line: markdown.slice(0, index).split("\n").length,
  }));
}

/** Writes each JavaScript block of the pages below `root` as a module into `dir`; returns the names. */
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
