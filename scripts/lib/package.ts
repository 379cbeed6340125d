import denoJson from "../../deno.json" with { type: "json" };

/** An entry point: its subpath and its file name, both without `./` and `.ts`. */
export interface EntryPoint {
  readonly name: string;
  readonly file: string;
  /** Whether it is a command rather than an importable module. */
  readonly isCommand: boolean;
}

/** The entry points in deno.json. */
export const entryPoints: readonly EntryPoint[] = Object.entries(denoJson.exports)
  .map(([name, path]) => ({
    name,
    file: path.replace(/^\.\/(.*)\.ts$/, "$1"),
    isCommand: name === "./cli",
  }));

const modules = entryPoints.filter(({ isCommand }) => !isCommand);
const commands = entryPoints.filter(({ isCommand }) => isCommand);

/** The files that are published alongside the code. */
export const extraFiles: readonly string[] = ["CHANGELOG.md", "LICENSE", "README.md"];

/** The contents of package.json in the directory of each module kind. */
export const nestedPackageJson = {
  // Bundlers read only the nearest package.json, so they would miss `sideEffects` in the top-level
  // package.json.
  esm: { type: "module", sideEffects: false },
  script: { type: "commonjs", sideEffects: false },
} as const;

/** The parts of a package.json that are used here. */
interface PackageJson extends Record<string, unknown> {
  name: string;
  version: string;
  exports: Record<string, unknown>;
}

/** The contents of the npm package's package.json, for both builds. */
export const packageJson: PackageJson = {
  name: denoJson.name,
  version: denoJson.version,
  description: "Atomic file writes and crash-safe directory locks for Deno, Node.js and Bun.",
  keywords: [
    "atomic",
    "write",
    "file",
    "rename",
    "fsync",
    "durability",
    "lock",
    "lockfile",
    "flock",
    "advisory-lock",
    "mutex",
    "concurrency",
    "deno",
    "node",
    "bun",
  ],
  license: denoJson.license,
  homepage: "https://jsr.io/@aperture/atomic",
  repository: { type: "git", url: "git+https://github.com/aperture/atomic.git" },
  bugs: { url: "https://github.com/aperture/atomic/issues" },
  engines: { node: ">=20" },
  type: "commonjs",
  sideEffects: false,
  main: "./script/mod.js",
  module: "./esm/mod.js",
  types: "./script/mod.d.ts",
  exports: Object.fromEntries([
    ...modules.map(({ name, file }) => {
      const condition = (dir: string) => ({
        types: `./${dir}/${file}.d.ts`,
        default: `./${dir}/${file}.js`,
      });
      return [name, { import: condition("esm"), require: condition("script") }] as const;
    }),
    ["./package.json", "./package.json"] as const,
  ]),
  // TypeScript's moduleResolution "node10" ignores `exports` and needs `typesVersions` instead.
  typesVersions: {
    "*": Object.fromEntries(
      modules.filter(({ name }) => name !== ".")
        .map(({ name, file }) => [name.slice(2), [`./script/${file}.d.ts`]]),
    ),
  },
  ...commands.length > 0 && {
    bin: Object.fromEntries(commands.map(({ file }) => ["aperture-atomic", `esm/${file}.js`])),
  },
  files: ["esm", "script", ...extraFiles],
  // Writes do not need koffi. If a lock cannot load koffi, the error says what to install.
  optionalDependencies: { koffi: "^3.3.3" },
  publishConfig: { access: "public", provenance: true },
};
