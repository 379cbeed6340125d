import * as fs from "node:fs";
import * as path from "node:path";
import { filesOf } from "./trees.ts";

/** Reports each broken link in these Markdown files, whose paths are relative to `root`. */
export function brokenLinks(root: string, files: readonly string[]): string[] {
  return files.flatMap((file) => {
    const found = linksOf(fs.readFileSync(path.join(root, file), "utf8"));
    return found.filter((link) => !leadsSomewhere(root, file, link))
      .map((link) => `${file}: ${link} leads nowhere`);
  });
}

/** The Markdown files in the root directory, under docs/, in bench/ and in scripts/. */
export function markdownFiles(root: string): string[] {
  const inDir = (dir: string) => fs.readdirSync(path.join(root, dir)).map((name) => dir + name);
  const docs = filesOf(path.join(root, "docs")).map((name) => `docs/${name}`);
  return [...inDir(""), ...docs, ...inDir("bench/"), ...inDir("scripts/")]
    .filter((name) => name.endsWith(".md"));
}

/** Removes code from the text, because code can look like a link. */
function prose(markdown: string): string {
  return markdown.replace(/^( *)(```+|~~~+)[\s\S]*?^ *\2 *$/gm, "").replace(/`[^`\n]*`/g, "``");
}

function linksOf(markdown: string): string[] {
  const inline = prose(markdown).matchAll(/\]\(<?([^)\s>]+)>?(?: +"[^"]*")?\)/g);
  const references = prose(markdown).matchAll(/^ *\[[^\]]+\]: +<?([^\s>]+)>?/gm);
  return [...inline, ...references].map(([, target]) => target!);
}

function leadsSomewhere(root: string, from: string, link: string): boolean {
  if (/^[a-z]+:/i.test(link)) return true; // Not a file.
  const [target, anchor] = link.split("#") as [string, string | undefined];
  const file = target === "" ? from : path.join(path.dirname(from), decodeURIComponent(target));
  if (!fs.existsSync(path.join(root, file))) return false;
  if (anchor === undefined || !file.endsWith(".md")) return true;
  return anchorsOf(fs.readFileSync(path.join(root, file), "utf8")).has(anchor);
}

/** Returns the anchors that GitHub generates for a page's headings. */
function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>();
  const withoutBlocks = markdown.replace(/^( *)(```+|~~~+)[\s\S]*?^ *\2 *$/gm, "");
  for (const [, heading] of withoutBlocks.matchAll(/^#{1,6} +(.+?) *#* *$/gm)) {
    const text = heading!.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = text.replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, "").replaceAll(" ", "-");
    let anchor = slug;
    for (let i = 1; anchors.has(anchor); i++) anchor = `${slug}-${i}`;
    anchors.add(anchor);
  }
  for (const [, id] of markdown.matchAll(/<a (?:id|name)="([^"]+)"/g)) anchors.add(id!);
  return anchors;
}
