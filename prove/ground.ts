import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import { content, numberOf } from "../tests/support/content.ts";
import type { Part, Row, Runtime, Scale } from "./part.ts";
import { root } from "./part.ts";

/** What a part of the proof requires from the system. */
export interface Needs {
  /** Required commands, each with the Debian package that contains it. */
  readonly commands: Readonly<Record<string, string>>;
  /** Paths that must exist. */
  readonly devices?: readonly string[];
}

/**
 * Defines a part that runs in its own mount, network and PID namespaces, so that no mounts or
 * processes outlive it, however it exits. `module` exports the part's code as `prove`.
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
      // The child exits when its input closes, and therefore when this process exits.
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

/** Returns the first missing requirement, or undefined if there is none. */
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

/** Runs a shell command; throws an error with its output if it fails. */
export function sh(script: string, ...args: (string | number)[]): string {
  const { status, stdout, stderr, signal } = spawnSync(
    "sh",
    ["-ec", script, "sh", ...args.map(String)],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`${script} [${args}]: ${stderr.trim() || signal || status}`);
  return stdout.trim();
}

/**
 * Creates a directory for large files, in memory if there is room for `bytes`, otherwise on disk.
 */
export function roomFor(bytes: number, prefix: string): string {
  const memory = fs.existsSync("/dev/shm") ? fs.statfsSync("/dev/shm") : undefined;
  const enough = memory !== undefined && memory.bavail * memory.bsize > bytes;
  return fs.mkdtempSync(path.join(enough ? "/dev/shm" : os.tmpdir(), prefix));
}

/**
 * Returns the runtimes that can run jobs from ground_worker.ts. Node is included only if npm_test/
 * has been built.
 */
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

/** Compiles one of the repository's modules into npm_test/, next to the modules that it imports. */
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

/** Returns each file's highest version in the journal lines that start with `what`. */
export function lastOf(notes: Uint8Array, what: "begun" | "done"): Map<string, number> {
  const last = new Map<string, number>();
  for (const line of new TextDecoder().decode(notes).split("\n")) {
    const [said, file, n] = line.split(" ");
    if (said !== what || n === undefined) continue;
    last.set(file!, Math.max(last.get(file!) ?? 0, Number(n)));
  }
  return last;
}

/** Works like `numberOf`, but is fast enough for gigabytes. */
export function versionOf(bytes: Uint8Array): number {
  if (bytes.byteLength < 8) return numberOf(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [length, number] = [view.getUint32(0), view.getUint32(4)];
  if (length !== bytes.byteLength - 8) return numberOf(bytes);
  return Buffer.compare(content(number, length), bytes) === 0 ? number : numberOf(bytes);
}

/** Waits for the given number of milliseconds. */
export function sleep(milliseconds: number): Promise<void> {
  return new Promise((go) => setTimeout(go, milliseconds));
}

/** Reports progress on standard error, since standard output is for the rows. */
export function say(text: string): void {
  console.error(`  ${text}`);
}

/** Formats a Markdown table. */
export function markdown(header: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const line = (cells: readonly unknown[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

/** The `prove` function of a part that runs in its own namespaces. */
export type ProveApart = (scale: Omit<Scale, "runtimes">) => Promise<Row[]>;
