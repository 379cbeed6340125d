/**
 * The test files that `npm test` runs only as ES modules, and why. ES modules and CommonJS are
 * compiled from the same sources and differ only in how modules are loaded, locate themselves and
 * share state. `npm test -- --on cjs` and the matrix run all test files as CommonJS.
 */
const ESM_ONLY: readonly [files: RegExp, reason: string][] = [
  [/^cli\//, "the command is an ES module"],
  [/^system\/(docs|examples)_test$/, "the programs that they run are ES modules"],
  [/^system\/(runner|syscalls)_test$/, "they start the same programs for both module kinds"],
  [
    /^system\/(processes|faults|options|paths)_test$/,
    "they test functions that have already been loaded",
  ],
  [/^lock\/(?!koffi|realm)/, "only the koffi and realm tests depend on how modules are loaded"],
  [/^(json|update)\//, "they call functions that other folders test"],
  [/^write\/(?!exit|signal)/, "only the exit and signal hooks depend on how modules are loaded"],
  [
    /^platform\/(?!copies|realm|node_permission)/,
    "they replace the runtime after it has been loaded",
  ],
];

/**
 * Whether a test file, given as a path under tests/ without `.ts`, may behave differently as
 * CommonJS.
 */
export function dependsOnModuleKind(file: string): boolean {
  return ESM_ONLY.every(([files]) => !files.test(file));
}
