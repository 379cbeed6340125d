import { toNamespacedPath } from "node:path";
import { pointerBytes, type WindowsCalls } from "./calls_windows.ts";

const DELETE = 0x1_0000, SYNCHRONIZE = 0x10_0000;
const OPEN_REPARSE_POINT = 0x20_0000, BACKUP_SEMANTICS = 0x200_0000;
const FILE_RENAME_INFO_EX = 22;
const REPLACE_IF_EXISTS = 1, POSIX_SEMANTICS = 2;

/**
 * Renames with Unix semantics: over a target that other programs have open, if they share it for
 * deletion. Returns false if Windows is too old, the file system does not support it, or the target
 * is read-only or not shared. Rust's standard library, and so Deno, does the same; libuv does not.
 *
 * @see {@link https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_file_rename_information}
 */
export function posixRename(calls: WindowsCalls, from: string, to: string): boolean {
  const file = calls.open(from, DELETE | SYNCHRONIZE, OPEN_REPARSE_POINT | BACKUP_SEMANTICS);
  if (file === -1) return false;
  try {
    return calls.change(file, FILE_RENAME_INFO_EX, renameInformation(toNamespacedPath(to)));
  } finally {
    calls.close(file);
  }
}

/** FILE_RENAME_INFO: flags, a directory handle, the length of the name in bytes, the name, a NUL. */
export function renameInformation(name: string, pointer: 4 | 8 = pointerBytes()): Uint8Array {
  const lengthAt = 2 * pointer;
  const nameAt = lengthAt + 4;
  const bytes = new Uint8Array(nameAt + 2 * name.length + 2);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, REPLACE_IF_EXISTS | POSIX_SEMANTICS, true);
  view.setUint32(lengthAt, 2 * name.length, true);
  for (let i = 0; i < name.length; i++) view.setUint16(nameAt + 2 * i, name.charCodeAt(i), true);
  return bytes;
}
