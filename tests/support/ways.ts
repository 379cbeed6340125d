import {
  AtomicFile,
  atomicUpdate,
  atomicWrite,
  type AtomicWriteOptions,
  atomicWriteSync,
} from "../../mod.ts";

/** A way to write a file: its name in test titles, and the function. */
export type Way = readonly [
  name: string,
  write: (file: string, options?: AtomicWriteOptions) => unknown,
];

/** Returns every way to write this data, in two pieces where possible. */
export function waysToWrite(data: string | Uint8Array): Way[] {
  const half = Math.ceil(data.length / 2);
  const pieces = [data.slice(0, half), data.slice(half)];
  return [
    ["atomicWrite()", (file, options) => atomicWrite(file, data, options)],
    ["atomicWriteSync()", (file, options) => atomicWriteSync(file, data, options)],
    ["atomicWrite() of a stream", (file, options) =>
      atomicWrite(
        file,
        (async function* () {
          yield* pieces;
        })(),
        options,
      )],
    ["AtomicFile", async (file, options) => {
      await using draft = await AtomicFile.open(file, options);
      for (const piece of pieces) await draft.write(piece);
      await draft.commit();
    }],
    ["atomicUpdate()", (file, options) => atomicUpdate(file, () => data, options)],
  ];
}
