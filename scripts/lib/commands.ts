import { nodeModules, root, setUp } from "./setup.mjs";

/** The Bun of the tool chain; tests find it in the environment as APERTURE_BUN. */
export const bun: string = `${nodeModules}/.bin/bun`;

/** Whether a command can be run, found out by asking for its version. */
export async function isThere(command: string): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args: ["--version"] }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The version that a command tells. */
export async function version(command: string): Promise<string> {
  const { stdout } = await new Deno.Command(command, { args: ["--version"] }).output();
  return new TextDecoder().decode(stdout).trim().replace(/^v/, "");
}

/** Runs a command at the top of the repository; throws if it fails. */
export async function must(command: string, args: readonly string[]): Promise<void> {
  const { code } = await new Deno.Command(command, { args: [...args], cwd: root }).spawn().status;
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed with exit code ${code}`);
}

/** What a command prints; throws with it if the command fails. */
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

/** Builds the npm package, or with `--tests` the tests for it, where there are Node and npm. */
export async function build(imports: readonly string[], ...args: string[]): Promise<boolean> {
  if (!await isThere("node") || !await isThere("npm")) return false;
  setUp();
  Deno.env.set("APERTURE_BUN", bun);
  // Deno 2.7 takes rollup's CommonJS for an ES module without the flag.
  const flags = ["-A", "--unstable-detect-cjs", ...imports];
  await must(Deno.execPath(), ["run", ...flags, `${root}/scripts/build_npm.ts`, ...args]);
  return true;
}
