import { domainToUnicode } from "node:url";

/**
 * The path of a file URL, by the rules of Node's `fileURLToPath`: a URL that cannot be expressed as
 * a path is a TypeError.
 */
export function fileUrlPath(href: string, windows: boolean): string {
  const { protocol, hostname, pathname } = new URL(href);
  if (protocol !== "file:") {
    throw new TypeError(`Path must be a file URL: received '${href}'`);
  }
  if ((windows ? /%(?:2f|5c)/i : /%2f/i).test(pathname)) {
    throw new TypeError(`File URL must not contain an encoded separator: received '${href}'`);
  }
  const path = decode(pathname, href);
  if (!windows) {
    if (hostname === "") return path;
    throw new TypeError(`File URL must have no host: received '${href}'`);
  }
  const folded = path.replaceAll("/", "\\");
  if (hostname !== "") return `\\\\${domainToUnicode(hostname)}${folded}`;
  if (/^\\[a-z]:/i.test(folded)) return folded.slice(1);
  throw new TypeError(`File URL must have a drive or a host on Windows: received '${href}'`);
}

function decode(pathname: string, href: string): string {
  try {
    return decodeURIComponent(pathname);
  } catch (cause) {
    throw new TypeError(`File URL has a malformed escape: received '${href}'`, { cause });
  }
}
