import { sweepTempFiles } from "../../atomic.ts";
import { type Command, command, duration, flag, refuseMore } from "./arguments.ts";
import { say } from "./print.ts";

/**
 * `sweep DIR`: removes temporary files that killed programs did not clean up, and prints their
 * paths.
 */
export const sweep: Command = command("DIR", {
  "older-than": duration,
  recursive: flag,
}, async (given) => {
  refuseMore(given);
  const { "older-than": olderThan, recursive = false } = given.options;
  const options = olderThan === undefined ? { recursive } : { recursive, olderThan };
  for (const path of await sweepTempFiles(given.operand, options)) say(path);
  return 0;
});
