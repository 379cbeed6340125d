import type { ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import process from "node:process";
import { test as nodeTest } from "node:test";

/** Options for {@linkcode test}. */
export interface TestOptions {
  /** Why the test does not apply here; such a test is reported as ignored. */
  skip?: string | false;
  /** How long the test may take, in milliseconds; a minute if omitted. */
  timeout?: number;
}

/** Whether the tests run on Deno. */
// dnt-shim-ignore
export const isDeno: boolean = "Deno" in globalThis;

/** Whether the tests run on Deno 2.7; they cannot use some of its node: modules. */
export const isDeno27: boolean = isDeno && /^2\.7\./.test(Deno.version.deno);

/** Whether the tests run on Bun. */
// dnt-shim-ignore
export const isBun: boolean = "Bun" in globalThis;

/** Whether the tests run on Windows. */
export const isWindows: boolean = process.platform === "win32";

/** Whether the tests run under Wine, as set by scripts/test_wine.ts. */
export const isWine: boolean = process.env.APERTURE_WINE !== undefined;

/** Whether the tests run as root, which bypasses permission bits. */
export const isRoot: boolean = process.getuid?.() === 0;

/** The default test timeout in milliseconds. */
const DEFAULT_TIMEOUT_MS = 60_000;

/** The factor by which timeouts are multiplied. Wine is slow. */
const TIMEOUT_FACTOR = isWine ? 4 : 1;

/**
 * The runner's own timeout expires this many milliseconds after the test's timeout. Only the
 * runner's timeout can stop a loop that never yields.
 */
const RUNNER_GRACE_MS = 10_000;

/** The processes that the current test started. */
const children = new Set<ChildProcess>();

/**
 * Defines a test on any runtime: with `Deno.test` on Deno, because it detects leaked files, timers
 * and promises, and with `node:test` elsewhere. A test that exceeds its timeout fails, and the
 * processes that it started are killed, so that the next test can run.
 */
export function test(
  name: string,
  fn: () => void | Promise<void>,
  { skip = false, timeout: ms = DEFAULT_TIMEOUT_MS }: TestOptions = {},
): void {
  const timeout = ms * TIMEOUT_FACTOR;
  const title = skip ? `${name} (${skip})` : name;
  const limited = () => withTimeout(fn, timeout);
  if (isDeno) {
    // Deno 2.8 and later leave the sanitizers off by default, so turn them on. On Deno 2.7, turn
    // them off: they would report false leaks, because its node:child_process and streams leave
    // reads pending. In Deno 2.7, deno.json has no setting for the sanitizers.
    const sanitize = { sanitizeOps: !isDeno27, sanitizeResources: !isDeno27 };
    const definition = { name: title, ignore: skip !== false, fn: limited, ...sanitize };
    Deno.test({ ...definition, timeout: timeout + RUNNER_GRACE_MS });
    return;
  }
  if (!skip) unfinished++;
  nodeTest(
    title,
    { skip, timeout: timeout + RUNNER_GRACE_MS },
    () => limited().finally(exitIfLast),
  );
}

/** Kills the process and its children if the current test fails before the process exits. */
export function endWithTest(child: ChildProcess): void {
  children.add(child);
  child.once("exit", () => children.delete(child));
  child.once("error", () => children.delete(child));
}

async function withTimeout(fn: () => void | Promise<void>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      givenUp = true;
      reject(new Error(`The test did not end within ${ms / 1_000} s`));
    }, ms);
  });
  try {
    await Promise.race([fn(), late]);
  } catch (error) {
    for (const { pid } of children) if (pid !== undefined) killTree(pid);
    throw error;
  } finally {
    clearTimeout(timer);
    children.clear();
  }
}

function killTree(pid: number): void {
  const tasks = `/proc/${pid}/task`;
  try {
    for (const task of fs.readdirSync(tasks)) {
      const list = fs.readFileSync(`${tasks}/${task}/children`, "utf8");
      for (const child of list.split(" ").filter(Boolean)) killTree(Number(child));
    }
  } catch {
    // Only Linux lists a process's children.
  }
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // The process has already exited.
  }
}

/** Whether an abandoned test may still be waiting for something. */
let givenUp = false;

/** The number of tests defined but not yet finished. */
let unfinished = 0;

/**
 * Lets Node exit after the last test, even if an abandoned test is still waiting for something.
 * Node 20.0 would run an `after()` hook only once nothing is waiting.
 */
function exitIfLast(): void {
  unfinished--;
  if (isBun || !givenUp) return;
  // By then, the runner has reported the test, and the next file has defined its tests.
  setTimeout(() => void (unfinished === 0 && process.exit(1)), 1_000).unref();
}

/** Defines a {@linkcode test} that needs symbolic links. */
export function testWithLinks(name: string, fn: () => void | Promise<void>): void {
  test(name, fn, { skip: !linksWork() && "symbolic links are not available" });
}

let links: boolean | undefined;

/** Whether symbolic links work: Windows may refuse to create them, and Wine only pretends to. */
export function linksWork(): boolean {
  if (links !== undefined) return links;
  const dir = fs.mkdtempSync(path.join(tmpdir(), "aperture-links-"));
  try {
    fs.symlinkSync("target", path.join(dir, "link"));
    links = fs.lstatSync(path.join(dir, "link")).isSymbolicLink();
  } catch {
    links = false;
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
  return links;
}
