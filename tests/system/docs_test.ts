/**
 * Runs the code in the README and docs/: JavaScript on every runtime, TypeScript on Deno, and shell
 * commands. `deno task check` checks the types. A block with `ignore` in its info string cannot run
 * here; the page says why.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { assert, assertEquals } from "@std/assert";
import { type CodeBlock, codeBlocks } from "../../scripts/lib/code_blocks.ts";
import { filesOf } from "../../scripts/lib/trees.ts";
import { inTempDir } from "../support/dir.ts";
import { endWithTest, isDeno, isDeno27, isWindows, test } from "../support/test.ts";

const extension = path.extname(import.meta.url);
const root = repository(path.dirname(fileURLToPath(import.meta.url)));
const pages = ["README.md", ...filesOf(path.join(root, "docs")).map((name) => `docs/${name}`)]
  .filter((name) => name.endsWith(".md"));
const isCommonJs = import.meta.url.includes("/script/tests/");
const noShell = isWindows || spawnSync("bash", ["--version"]).status !== 0;
const noFlock = noShell || spawnSync("flock", ["--version"]).status !== 0;

function skipPrograms(page: string): string | false {
  if (isCommonJs) return "the guides are ES modules";
  return isDeno27 && page === "docs/guides/watching.md" &&
    "Deno 2.7's node:fs watch() reports other names";
}

function blocksOf(page: string): CodeBlock[] {
  return codeBlocks(fs.readFileSync(path.join(root, page), "utf8"));
}

/** Returns the programs on a page that this runtime can run. */
function programsOf(page: string): CodeBlock[] {
  return blocksOf(page).filter(({ language }) => {
    return language === "js" || (language === "ts" && isDeno);
  });
}

let ran: Promise<string> | undefined;

/**
 * Runs the programs from all pages in one process, because starting a process takes longer than
 * running most programs.
 */
function runPrograms(): Promise<string> {
  return inTempDir((dir) => {
    const lines = ['import process from "node:process";'];
    for (const [i, page] of pages.entries()) {
      if (skipPrograms(page)) continue;
      const own = path.join(dir, String(i));
      fs.mkdirSync(own);
      lines.push("try {", `  process.chdir(${JSON.stringify(own)});`);
      for (const { language, code, line } of programsOf(page)) {
        const file = path.join(own, `line_${line}.${language === "js" ? "mjs" : "mts"}`);
        fs.writeFileSync(file, withUrls(code));
        lines.push(`  await import("${pathToFileURL(file).href}");`);
      }
      lines.push(`  console.log("${hasRun(page)}");`, "} catch (error) {");
      lines.push("  console.error(error);", "}");
    }
    const all = path.join(dir, "all.mjs");
    fs.writeFileSync(all, lines.join("\n"));
    return runs([process.execPath, ...runtimeArgs(), all], dir);
  });
}

function hasRun(page: string): string {
  return `The programs of ${page} have run`;
}

for (const page of pages) {
  const blocks = blocksOf(page);
  if (programsOf(page).length > 0) {
    test(`${page}: its programs run`, async () => {
      ran ??= runPrograms();
      const output = await ran;
      assert(output.includes(hasRun(page)), output);
    }, { skip: skipPrograms(page) });
  }
  // The project's own tasks cannot run in a temporary directory.
  const commands = blocks.filter(({ language, code }) =>
    language === "sh" && !/^(?:npm|deno|node|npx|git|apt-get) /m.test(code)
  );
  if (commands.length > 0) {
    const needsFlock = commands.some(({ code }) => /^\s*flock /m.test(code));
    const skip = (noShell && "bash is not installed") ||
      (needsFlock && noFlock && "flock is not installed");
    test(`${page}: its commands run`, () =>
      inTempDir(async (dir) => {
        const cli = fileURLToPath(new URL(`../../cli${extension}`, import.meta.url));
        const command = [process.execPath, ...runtimeArgs(), cli].map(quoted).join(" ");
        for (const { code, line } of commands) {
          const script = path.join(dir, `line_${line}.sh`);
          fs.writeFileSync(script, `aperture-atomic() { ${command} "$@"; }\n${code}`);
          await runs(["bash", "-euo", "pipefail", script], dir);
        }
      }), { skip });
  }
}

/** Returns the program with its imports changed from the package to the library under test. */
function withUrls(code: string): string {
  return code.replaceAll(
    /(?<=["'])@aperture\/atomic(?:\/(\w+))?(?=["'])/g,
    (_, subpath = "mod") => {
      return new URL(`../../${subpath}${extension}`, import.meta.url).href;
    },
  );
}

function runtimeArgs(): string[] {
  if (!isDeno) return [];
  const imports = JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]");
  return [
    "run",
    "-A",
    "--quiet",
    "--no-check",
    "--config",
    path.join(root, "deno.json"),
    ...imports,
  ];
}

async function runs([command, ...args]: string[], dir: string): Promise<string> {
  const child = spawn(command!, args, {
    cwd: dir,
    env: { ...process.env, TMPDIR: dir },
    stdio: ["ignore", "pipe", "pipe"],
  });
  endWithTest(child);
  let output = "";
  child.stdout.on("data", (chunk) => output += chunk);
  child.stderr.on("data", (chunk) => output += chunk);
  const [code] = await once(child, "close");
  assertEquals(code, 0, `${args.at(-1)}: ${output}`);
  return output;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Returns the repository's root directory; the compiled tests are under npm_test/. */
function repository(directory: string): string {
  while (
    !fs.existsSync(path.join(directory, "docs")) || !fs.existsSync(path.join(directory, "cli.ts"))
  ) {
    const parent = path.dirname(directory);
    if (parent === directory) throw new Error("The tests are not in the repository");
    directory = parent;
  }
  return directory;
}
