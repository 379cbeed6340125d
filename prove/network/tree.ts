import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { npmImports } from "../../scripts/lib/imports.ts";
import { nodeModules } from "../../scripts/lib/setup.mjs";
import { root } from "../part.ts";

/** The library's location on a machine. */
export const TREE = "/opt/tree";

/** A tar archive and the directory in which to extract it. */
export interface Archive {
  readonly into: string;
  readonly archive: Uint8Array;
}

/**
 * Collects the files that `guest/run` needs: the sources and the compiled tests, with everything
 * that they import. If the guest needs a different build of koffi's addon than this machine,
 * `native` is the directory that contains it.
 */
export function libraryTree(native: string = nodeModules): Archive[] {
  const top = fs.readdirSync(root).filter((name) => /^[a-z]+\.(?:ts|json)$/.test(name));
  const sources = ["internal", "runtime", "tests", "prove/network", "scripts/lib", "npm_test"];
  const map = fs.mkdtempSync(path.join(os.tmpdir(), "aperture-map-"));
  const imports = npmImports(TREE, `${TREE}/deno-std`);
  fs.writeFileSync(path.join(map, "map.json"), JSON.stringify({ imports }));
  try {
    return [
      { into: TREE, archive: tar(root, [...top, ...sources]) },
      { into: TREE, archive: tar(nodeModules, ["deno-std"]) },
      { into: TREE, archive: tar(map, ["map.json"]) },
      { into: `${TREE}/npm_test/node_modules`, archive: tar(native, ["@koromix"]) },
    ];
  } finally {
    fs.rmSync(map, { recursive: true });
  }
}

/**
 * Archives parts of a directory. Symbolic links are followed, because those in npm_test/ point
 * outside the tree.
 */
function tar(dir: string, names: readonly string[]): Uint8Array {
  const args = ["-c", "--dereference", "-C", path.resolve(dir), ...names];
  const { stdout, stderr, status } = spawnSync("tar", args, { maxBuffer: 2 ** 30 });
  if (status !== 0) throw new Error(`tar: ${stderr}`);
  return stdout;
}
