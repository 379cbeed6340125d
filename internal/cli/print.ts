import { writeSync } from "node:fs";
import { codeOf } from "../base/errors.ts";
import { sleepSync } from "../../runtime/shared/platform.ts";

/** Prints a line on standard output. */
export function say(line: string): void {
  print(1, line);
}

/** Prints a message on standard error. */
export function complain(message: string): void {
  print(2, `aperture-atomic: ${message}`);
}

/** Writes synchronously, so that nothing is pending when the process exits. */
function print(descriptor: number, line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let offset = 0; offset < bytes.byteLength;) {
    try {
      offset += writeSync(descriptor, bytes, offset);
    } catch (error) {
      const code = codeOf(error);
      // The pipe is full, and another process has made it non-blocking.
      if (code === "EAGAIN") sleepSync(1);
      // A closed pipe is not an error, and a failure to print an error cannot be reported.
      else if (descriptor === 2 || code === "EPIPE") return;
      else throw error;
    }
  }
}
