import * as fs from "node:fs";
import pinned from "../tools/matrix/package.json" with { type: "json" };
import { must } from "./commands.ts";
import { root, setUp } from "./setup.mjs";

/** Where what only the matrix needs is described. */
const matrix = `${root}/scripts/tools/matrix`;

/** Where {@linkcode setUpMatrix} installs it. */
export const matrixModules: string = `${matrix}/node_modules`;

/** The versions of the runtimes that are tested beside those of the tool chain. */
export const versions: { readonly node: readonly string[]; readonly deno: readonly string[] } =
  pinned.runtimes;

/** Installs the tools that only the matrix needs. */
export function setUpMatrix(): void {
  setUp(matrix);
}

/** Node of a version from npm: the command. */
export async function node(version: string): Promise<string> {
  const windows = Deno.build.os === "windows";
  const os = windows ? "win" : Deno.build.os;
  const name = `node-${os}-${Deno.build.arch === "aarch64" ? "arm64" : "x64"}`;
  return `${await install(name, version)}/${name}/bin/node${windows ? ".exe" : ""}`;
}

/** Deno of a version from npm: the command. */
export async function deno(version: string): Promise<string> {
  const modules = await install("deno", version);
  await must("node", [`${modules}/deno/bin.cjs`, "--version"]);
  return `${modules}/deno/deno${Deno.build.os === "windows" ? ".exe" : ""}`;
}

async function install(name: string, version: string): Promise<string> {
  const prefix = `${matrixModules}/.runtimes/${name}@${version}`;
  if (!fs.existsSync(`${prefix}/node_modules/${name}`)) {
    const options = ["--silent", "--no-audit", "--no-fund", "--prefix", prefix];
    await must("npm", ["install", ...options, `${name}@${version}`]);
  }
  return `${prefix}/node_modules`;
}
