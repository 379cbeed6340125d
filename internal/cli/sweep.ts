import { sweepTempFiles } from "../../atomic.ts";
import { type Command, command, duration, refuseMore } from "./arguments.ts";
import { say } from "./print.ts";

/** `sweep DIR`: removes the temporary files that killed programs left, and prints their paths. */
export const sweep: Command = command("DIR", {
  "older-than": duration,
}, async (given) => {
  refuseMore(given);
  const { "older-than": olderThan } = given.options;
  const options = olderThan === undefined ? {} : { olderThan };
  for (const path of await sweepTempFiles(given.operand, options)) say(path);
  return 0;
});
