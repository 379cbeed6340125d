import * as fs from "node:fs";
import pinned from "../tools/matrix/package.json" with { type: "json" };
import { must } from "./commands.ts";
import { root, setUp } from "./setup.mjs";

/** The directory whose package.json lists the tools that only the matrix needs. */
const matrix = `${root}/scripts/tools/matrix`;

/** The directory into which {@linkcode setUpMatrix} installs these tools. */
export const matrixModules: string = `${matrix}/node_modules`;

/** The runtime versions tested in addition to those in the toolchain. */
export const versions: { readonly node: readonly string[]; readonly deno: readonly string[] } =
  pinned.runtimes;

/** Installs the tools that only the matrix needs. */
export function setUpMatrix(): void {
  setUp(matrix);
}

/** Installs a version of Node from npm; returns the path of its executable. */
export async function node(version: string): Promise<string> {
  const windows = Deno.build.os === "windows";
  const os = windows ? "win" : Deno.build.os;
  const name = `node-${os}-${Deno.build.arch === "aarch64" ? "arm64" : "x64"}`;
  return `${await installed(name, version)}/${name}/bin/node${windows ? ".exe" : ""}`;
}

/** Installs a version of Deno from npm; returns the path of its executable. */
export async function deno(version: string): Promise<string> {
  const modules = await installed("deno", version);
  await must("node", [`${modules}/deno/bin.cjs`, "--version"]);
  return `${modules}/deno/deno${Deno.build.os === "windows" ? ".exe" : ""}`;
}

/**
 * Installs a package from npm on first use; returns the `node_modules` directory that contains it.
 */
export async function installed(name: string, version: string): Promise<string> {
  const prefix = `${matrixModules}/.runtimes/${name.replace("/", "+")}@${version}`;
  if (!fs.existsSync(`${prefix}/node_modules/${name}`)) {
    const options = ["--silent", "--no-audit", "--no-fund", "--prefix", prefix];
    await must("npm", ["install", ...options, `${name}@${version}`]);
  }
  return `${prefix}/node_modules`;
}
