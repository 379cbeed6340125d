import * as fs from "node:fs";
import { output } from "./commands.ts";
import { packageJson } from "./package.ts";
import { nodeModules, root } from "./setup.mjs";

/** A user's project, with the package in npm/ installed from its tarball. */
export class Project {
  readonly dir: string;
  /** The packed package. */
  readonly tarball: string;
  /** The files in the tarball. */
  readonly files: readonly string[];

  private constructor(dir: string, tarball: string, files: readonly string[]) {
    this.dir = dir;
    this.tarball = tarball;
    this.files = files;
  }

  /** Packs npm/ and creates an empty project. */
  static async create(): Promise<Project> {
    const dir = fs.realpathSync(Deno.makeTempDirSync({ prefix: "aperture-project-" }));
    const args = ["pack", "--json", "--pack-destination", dir];
    const said = JSON.parse(await output("npm", args, `${root}/npm`));
    // Up to npm 11, this is an array; in later versions, an object keyed by package name.
    const { filename, files } = (Array.isArray(said) ? said[0] : said[packageJson.name]) as {
      filename: string;
      files: { path: string }[];
    };
    const tarball = `${dir}/${filename.replace("/", "-").replace("@", "")}`;
    return new Project(dir, tarball, files.map(({ path }) => path));
  }

  /** Installs the package and `others`. */
  async install(...others: string[]): Promise<void> {
    this.write("package.json", JSON.stringify({ private: true }));
    await this.run("npm", ["install", "--no-audit", "--no-fund", this.tarball, ...others]);
  }

  /** Runs a command in the project; returns its output. */
  run(command: string, args: readonly string[]): Promise<string> {
    return output(command, args, this.dir);
  }

  /** Writes a file in the project. */
  write(name: string, text: string): void {
    fs.writeFileSync(`${this.dir}/${name}`, text);
  }

  /** Removes the project. */
  remove(): void {
    fs.rmSync(this.dir, { recursive: true });
  }
}

/** Returns the path of one of the toolchain's commands. */
export function tool(name: string): string {
  return `${nodeModules}/.bin/${name}`;
}

/**
 * A user's program, as an ES module or a CommonJS module. If everything works, it prints "used".
 */
export function useProgram(kind: "esm" | "cjs", specifier: string = packageJson.name): string {
  const imports = [["fs", "node:fs"], ["os", "node:os"], ["lib", specifier]] as const;
  return imports.map(([name, from]) =>
    kind === "esm"
      ? `import * as ${name} from "${from}";\n`
      : `const ${name} = require("${from}");\n`
  ).join("") + `async function use() {
  const dir = fs.mkdtempSync(os.tmpdir() + "/use-");
  await lib.atomicWrite(dir + "/a", "x");
  lib.atomicWriteSync(dir + "/a", "y");
  await lib.atomicUpdate(dir + "/a", (bytes) => new TextDecoder().decode(bytes) + "z");
  const lock = await lib.DirLock.acquire(dir);
  if (await lib.DirLock.tryAcquire(dir) !== null) throw new Error("not locked");
  lock.release();
  lib.DirLock.acquireSync(dir).release();
  if (fs.readFileSync(dir + "/a", "utf8") !== "yz") throw new Error("not written");
  fs.rmSync(dir, { recursive: true });
  console.log("used");
}
use().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
`;
}

/** A user's program in TypeScript, as an ES module or a CommonJS module, for type-checking only. */
export function typesProgram(): string {
  return `import { AtomicFile, atomicUpdate, atomicWrite, type AtomicWriteError, DirLock } from "${packageJson.name}";
import { LockTimeoutError, type AcquireOptions } from "${packageJson.name}/lock";
import { readJson, updateJson } from "${packageJson.name}/json";
import { isTempName } from "${packageJson.name}/atomic";
import { atomicUpdate as update } from "${packageJson.name}/update";

export async function use(options: AcquireOptions): Promise<boolean> {
  await atomicWrite("a", new Uint8Array(1), { durability: "durable" });
  await atomicUpdate("a", (bytes: Uint8Array | null) => bytes && "x");
  await update("a", () => null);
  await using file = await AtomicFile.open(new URL("file:///a"));
  using lock: DirLock = await DirLock.acquire("dir", options);
  // @ts-expect-error This durability does not exist.
  await atomicWrite("a", "x", { durability: "fsync" });
  await updateJson<{ a: number }>("x", (value) => ({ a: (value?.a ?? 0) + 1 }));
  if (await readJson("x") === undefined) return false;
  const error: unknown = null;
  if (error instanceof LockTimeoutError) return error.timeout > 0;
  return (error as AtomicWriteError).replaced || isTempName(lock.path + file.path);
}
`;
}
