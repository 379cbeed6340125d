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

/** Builds the npm package, if Node and npm are there; whether they are. */
export async function buildPackage(
  imports: readonly string[],
  ...args: string[]
): Promise<boolean> {
  if (!await isThere("node") || !await isThere("npm")) return false;
  setUp();
  Deno.env.set("APERTURE_BUN", bun);
  await must(Deno.execPath(), ["run", "-A", ...imports, `${root}/scripts/build_npm.ts`, ...args]);
  return true;
}
