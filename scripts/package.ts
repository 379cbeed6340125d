import denoJson from "../deno.json" with { type: "json" };

/** The entry points: the subpath of each and its file. */
export const entryPoints: readonly { name: string; path: string }[] = Object
  .entries(denoJson.exports).map(([name, path]) => ({ name, path }));

/** The files that go along with the code. */
export const extraFiles: readonly string[] = ["LICENSE", "README.md"];

/** What a package.json says; more than is named here. */
interface PackageJson extends Record<string, unknown> {
  name: string;
  version: string;
  exports: Record<string, unknown>;
  dependencies: Record<string, string>;
}

/** What package.json says of the npm package, whatever builds it. */
export const packageJson: PackageJson = {
  name: denoJson.name,
  version: denoJson.version,
  description:
    "Replace files atomically and lock directories with a lock that the kernel frees when its holder dies.",
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
    ...entryPoints.map(({ name, path }) => {
      const file = path.replace(/^\.\/(.*)\.ts$/, "$1");
      const condition = (dir: string) => ({
        types: `./${dir}/${file}.d.ts`,
        default: `./${dir}/${file}.js`,
      });
      return [name, { import: condition("esm"), require: condition("script") }] as const;
    }),
    ["./package.json", "./package.json"] as const,
  ]),
  // For TypeScript's moduleResolution "node10", which knows no exports.
  typesVersions: {
    "*": Object.fromEntries(
      entryPoints.filter(({ name }) => name !== ".")
        .map(({ name }) => [name.slice(2), [`./script/${name.slice(2)}.d.ts`]]),
    ),
  },
  // Less what only the tests need.
  files: ["esm", "script", "!**/tests", "!**/assert", "!**/_dnt.test_*", ...extraFiles],
  dependencies: { koffi: "^3.0.0" },
};
