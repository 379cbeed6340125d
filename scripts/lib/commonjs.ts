/**
 * Why most tests do not also run as CommonJS. ES modules and CommonJS are compiled from the same
 * sources and differ only in how modules are loaded, locate themselves and share state. Test files
 * that match no pattern do run as CommonJS; `npm test -- --on cjs` and the matrix run all of them.
 */
const ESM_ONLY: readonly [files: RegExp, reason: string][] = [
  [/^cli\//, "the command is an ES module"],
  [/^system\/(docs|examples)_test$/, "what they run are ES modules"],
  [/^system\/(runner|syscalls)_test$/, "the program that they start is the same"],
  [
    /^system\/(processes|faults|options|paths)_test$/,
    "processes, faults and arguments meet functions that are loaded already",
  ],
  [/^lock\/(?!koffi|realm)/, "koffi_test loads what locks need; the rest is loaded already"],
  [/^(json|update)\//, "they call the functions of the other folders"],
  [/^write\/(?!exit|signal)/, "only the hooks for exit and signals depend on loading"],
  [/^platform\/(?!copies|realm|node_permission)/, "they replace the runtime after it was loaded"],
];

/**
 * Whether a test file, given as a path under tests/ without `.ts`, may behave differently as
 * CommonJS.
 */
export function dependsOnModuleKind(file: string): boolean {
  return ESM_ONLY.every(([files]) => !files.test(file));
}
