import { constants } from "node:os";

/** The name of an error number of errno(3). */
export function errorName(errno: number): string | undefined {
  return Object.entries(constants.errno).find(([, value]) => value === errno)?.[0];
}
