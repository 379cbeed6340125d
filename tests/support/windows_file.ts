import { loadKoffi } from "../../runtime/native/koffi.ts";
import { isDeno } from "./test.ts";

/** Windows share modes (`FILE_SHARE_…`): what others can do with an open file. 0 allows nothing. */
export const SHARE = { read: 1, write: 2, delete: 4 } as const;

const GENERIC_READ = 0x8000_0000, OPEN_EXISTING = 3;

type CreateFile = (...args: (bigint | number | null | string | Uint8Array)[]) => bigint | number;

/**
 * Opens a file for reading with a share mode. The runtimes cannot do this, because they always open
 * files with all share modes.
 */
export function openShared(file: string, share: number): { close(): void } {
  const { createFile, closeHandle, unload } = isDeno ? callsOfDeno() : callsOfKoffi();
  const handle = createFile(file, GENERIC_READ, share, null, OPEN_EXISTING, 0, null);
  if (Number(handle) === -1) throw new Error(`Cannot open '${file}', sharing ${share}`);
  return {
    close() {
      closeHandle(handle);
      unload();
    },
  };
}

function callsOfKoffi() {
  const kernel32 = loadKoffi().load("kernel32.dll");
  const createFile = kernel32.func(
    "intptr_t __stdcall CreateFileW(str16 name, uint32_t access, uint32_t share, " +
      "void *security, uint32_t disposition, uint32_t flags, void *template)",
  ) as CreateFile;
  const closeHandle = kernel32.func("int __stdcall CloseHandle(intptr_t file)");
  return { createFile, closeHandle, unload: () => {} };
}

function callsOfDeno() {
  const library = Deno.dlopen("kernel32.dll", {
    CreateFileW: {
      parameters: ["buffer", "u32", "u32", "pointer", "u32", "u32", "pointer"],
      result: "isize",
    },
    CloseHandle: { parameters: ["isize"], result: "i32" },
  });
  const { symbols } = library;
  const createFile = (file: string, ...rest: [number, number, null, number, number, null]) => {
    const units = Uint16Array.from(`${file}\0`, (unit) => unit.charCodeAt(0));
    return symbols.CreateFileW(new Uint8Array(units.buffer), ...rest);
  };
  const closeHandle = (handle: bigint | number) => symbols.CloseHandle(BigInt(handle));
  return {
    createFile: createFile as unknown as CreateFile,
    closeHandle,
    unload: () => library.close(),
  };
}
