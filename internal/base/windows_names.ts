// A device name is reserved in every directory and with any extension.
// https://learn.microsoft.com/windows/win32/fileio/naming-a-file
const DEVICE = /^(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[1-9¹²³]) *(?:\.|$)/i;
// deno-lint-ignore no-control-regex
const REFUSED = /[<>"|?*:\x00-\x1f]/;

/**
 * Returns why a file name is invalid on Windows, or undefined if it is valid. Given an invalid
 * name, Deno and Node would create different files, or none.
 */
export function faultOnWindows(name: string): string | undefined {
  if (REFUSED.test(name)) return "contains a character that Windows does not allow in names";
  if (/[. ]$/.test(name)) return "ends with a dot or a space, which Windows removes";
  if (DEVICE.test(name)) return "is a reserved device name on Windows";
  return undefined;
}
