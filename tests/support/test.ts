import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import process from "node:process";
import { test as nodeTest } from "node:test";

/** Options for {@linkcode test}. */
export interface TestOptions {
  /** Why a test does not apply here; it is then reported as ignored. */
  skip?: string | false;
  /** How long it may take, in milliseconds, where the runner would give it less: Bun 5 seconds. */
  timeout?: number;
}

/** Whether the tests run on Deno. */
// dnt-shim-ignore
export const isDeno: boolean = "Deno" in globalThis;

/** Whether the tests run on Deno 2.7, some of whose node: modules the tests cannot use. */
export const isDeno27: boolean = isDeno && /^2\.7\./.test(Deno.version.deno);

/** Whether the tests run on Bun. */
// dnt-shim-ignore
export const isBun: boolean = "Bun" in globalThis;

/** Whether the tests run on Windows. */
export const isWindows: boolean = process.platform === "win32";

/** Whether Windows is Wine, as scripts/test_wine.sh says. */
export const isWine: boolean = process.env.APERTURE_WINE !== undefined;

/** Whether the tests run as the user that permission bits do not stop. */
export const isRoot: boolean = process.getuid?.() === 0;

/**
 * One test, on whatever runtime: `Deno.test` on Deno, since it finds files, timers and
 * promises that are left open, `node:test` elsewhere.
 */
export function test(
  name: string,
  fn: () => void | Promise<void>,
  { skip = false, timeout }: TestOptions = {},
): void {
  const title = skip ? `${name} (${skip})` : name;
  if (isDeno) {
    // Off by default since Deno 2.8, and no setting of deno.json that 2.7 knows.
    // Nor is it of use with 2.7, whose node:child_process and streams leave reads behind.
    const sanitize = { sanitizeOps: !isDeno27, sanitizeResources: !isDeno27 };
    Deno.test({ name: title, ignore: skip !== false, fn, ...sanitize });
  } else nodeTest(title, { skip, ...timeout !== undefined && { timeout } }, fn);
}

/** A {@linkcode test} that needs symbolic links. */
export function testWithLinks(name: string, fn: () => void | Promise<void>): void {
  test(name, fn, { skip: !linksWork() && "symbolic links do not work here" });
}

let links: boolean | undefined;

/** Whether symbolic links work: Windows may refuse, and Wine makes none but says that it did. */
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
