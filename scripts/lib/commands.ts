import { nodeModules, root, setUp } from "./setup.mjs";

/**
 * The path of the toolchain's Bun, which the tests read from the environment variable APERTURE_BUN.
 */
export const bun: string = `${nodeModules}/.bin/bun`;

/** Runs a command with `--version` and returns whether that succeeded. */
export async function isThere(command: string): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args: ["--version"] }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Returns the version that a command prints. */
export async function version(command: string): Promise<string> {
  const { stdout } = await new Deno.Command(command, { args: ["--version"] }).output();
  return new TextDecoder().decode(stdout).trim().replace(/^v/, "");
}

/** Runs a command in the repository's root directory; throws if it fails. */
export async function must(command: string, args: readonly string[]): Promise<void> {
  const { code } = await new Deno.Command(command, { args: [...args], cwd: root }).spawn().status;
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed with exit code ${code}`);
}

/** Returns a command's output; if the command fails, throws an error that contains the output. */
export async function output(
  command: string,
  args: readonly string[],
  cwd: string,
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (!success) throw new Error(`${command} ${args.join(" ")}\n${text}${errors}`);
  return text!.trim();
}

/** Builds the npm package, or its tests with `--tests`; returns false if Node or npm is missing. */
export async function build(imports: readonly string[], ...args: string[]): Promise<boolean> {
  if (!await isThere("node") || !await isThere("npm")) return false;
  setUp();
  Deno.env.set("APERTURE_BUN", bun);
  // Without this flag, Deno 2.7 mistakes rollup's CommonJS build for an ES module.
  const flags = ["-A", "--unstable-detect-cjs", ...imports];
  await must(Deno.execPath(), ["run", ...flags, `${root}/scripts/build_npm.ts`, ...args]);
  return true;
}
