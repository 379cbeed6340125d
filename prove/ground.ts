import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import { content, numberOf } from "../tests/support/content.ts";
import type { Part, Row, Runtime, Scale } from "./part.ts";
import { root } from "./part.ts";

/** What a part of the proof needs of the system. */
export interface Needs {
  /** Commands, each with the package of Debian that has it. */
  readonly commands: Readonly<Record<string, string>>;
  /** Paths that must be there. */
  readonly devices?: readonly string[];
}

/**
 * A part that runs in mount, network and process namespaces of its own, so that nothing stays
 * mounted and no process is left, however it ends: `module` exports it as `prove`.
 */
export function apart(module: string, guarantee: string, needs: Needs): Part {
  return async ({ short, soak }) => {
    const reason = missing(needs);
    if (reason !== undefined) {
      return [{ guarantee, method: reason, trials: 0, failures: [], skipped: true }];
    }
    const imports: string[] = JSON.parse(Deno.env.get("APERTURE_DENO_ARGS") ?? "[]");
    const child = new Deno.Command("unshare", {
      args: [
        ...["--mount", "--propagation", "private"],
        ...["--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
        ...[Deno.execPath(), "run", "-A", "--no-check", ...imports, `${root}prove/apart.ts`],
        ...[module, JSON.stringify({ short, soak })],
      ],
      // It ends when this is closed: when this process does.
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const { stdout, code } = await child.output();
    if (code !== 0) {
      const failures = [`ended with exit code ${code}`];
      return [{ guarantee, method: "its own namespaces", trials: 1, failures }];
    }
    return JSON.parse(new TextDecoder().decode(stdout)) as Row[];
  };
}

/** The first thing that is missing, in words. */
function missing({ commands, devices = [] }: Needs): string | undefined {
  if (Deno.build.os !== "linux") return "needs Linux";
  if (process.getuid!() !== 0) return "needs root";
  const lacking = Object.keys(commands).filter((command) => {
    return spawnSync("sh", ["-c", `command -v ${command}`]).status !== 0;
  });
  if (lacking.length > 0) {
    const packages = new Set(lacking.map((command) => commands[command]));
    return `needs ${lacking.join(", ")}: apt-get install ${[...packages].join(" ")}`;
  }
  const device = devices.find((file) => !fs.existsSync(file));
  if (device !== undefined) return `needs ${device}`;
  if (spawnSync("unshare", ["--mount", "--net", "--pid", "--fork", "true"]).status !== 0) {
    return "needs the right to unshare namespaces";
  }
  return undefined;
}

/** Runs a shell command; throws with what it said if it fails. */
export function sh(script: string, ...args: (string | number)[]): string {
  const { status, stdout, stderr, signal } = spawnSync(
    "sh",
    ["-ec", script, "sh", ...args.map(String)],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`${script} [${args}]: ${stderr.trim() || signal || status}`);
  return stdout.trim();
}

/** A directory for images and the like: in memory where there is room for `bytes`. */
export function roomFor(bytes: number, prefix: string): string {
  const memory = fs.existsSync("/dev/shm") ? fs.statfsSync("/dev/shm") : undefined;
  const enough = memory !== undefined && memory.bavail * memory.bsize > bytes;
  return fs.mkdtempSync(path.join(enough ? "/dev/shm" : os.tmpdir(), prefix));
}

/** The runtimes, to run jobs of ground_worker.ts; Node only if the package is built with tests. */
export async function groundRuntimes(): Promise<Runtime[]> {
  const imports: string[] = JSON.parse(Deno.env.get("APERTURE_DENO_ARGS") ?? "[]");
  const source = `${root}tests/support/ground_worker.ts`;
  const deno = [Deno.execPath(), "run", "-A", "--no-check", "--quiet", ...imports, source];
  const runtimes: Runtime[] = [{ name: "Deno", options: { worker: deno } }];
  const dir = `${root}npm_test/esm/tests/support`;
  if (!fs.existsSync(`${dir}/content.js`)) return runtimes;
  await compileForNode("tests/support/ground_worker");
  runtimes.push({ name: "Node", options: { worker: ["node", `${dir}/ground_worker.js`] } });
  return runtimes;
}

/** Compiles a module of the repository into npm_test/, next to what it imports. */
export async function compileForNode(module: string): Promise<void> {
  const { default: ts } = await import("typescript");
  const { outputText } = ts.transpileModule(fs.readFileSync(`${root}${module}.ts`, "utf8"), {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      rewriteRelativeImportExtensions: true,
    },
  });
  const file = `${root}npm_test/esm/${module}.js`;
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, outputText);
}

/** The highest version of each file in the lines of a journal that say `what`. */
export function lastOf(notes: Uint8Array, what: "begun" | "done"): Map<string, number> {
  const last = new Map<string, number>();
  for (const line of new TextDecoder().decode(notes).split("\n")) {
    const [said, file, n] = line.split(" ");
    if (said !== what || n === undefined) continue;
    last.set(file!, Math.max(last.get(file!) ?? 0, Number(n)));
  }
  return last;
}

/** What `numberOf` tells, quicker where there are gigabytes to read. */
export function versionOf(bytes: Uint8Array): number {
  if (bytes.byteLength < 8) return numberOf(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [length, number] = [view.getUint32(0), view.getUint32(4)];
  if (length !== bytes.byteLength - 8) return numberOf(bytes);
  return Buffer.compare(content(number, length), bytes) === 0 ? number : numberOf(bytes);
}

/** Waits. */
export function sleep(milliseconds: number): Promise<void> {
  return new Promise((go) => setTimeout(go, milliseconds));
}

/** Says how far it is; the rows have standard output for themselves. */
export function say(text: string): void {
  console.error(`  ${text}`);
}

/** A table in Markdown. */
export function markdown(header: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const line = (cells: readonly unknown[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

/** What a part in namespaces of its own exports. */
export type ProveApart = (scale: Omit<Scale, "runtimes">) => Promise<Row[]>;
