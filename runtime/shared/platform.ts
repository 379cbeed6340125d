import process from "node:process";

/** Whether this is Windows. */
export const isWindows: boolean = process.platform === "win32";

/** See {@linkcode Runtime.foldsNames}. */
export const foldsNames: boolean = isWindows || process.platform === "darwin";
