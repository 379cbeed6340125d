import { lockHolders } from "../../lock.ts";
import { type Command, command, lockFileName, refuseMore } from "./arguments.ts";
import { EX_UNAVAILABLE, ExitError } from "./errors.ts";
import { say } from "./print.ts";

/** `holders DIR`: prints the ids of the processes that hold a directory's lock. */
export const holders: Command = command("DIR", {
  "lock-file": lockFileName,
}, async (given) => {
  refuseMore(given);
  const { operand: dir, options: { "lock-file": lockFile } } = given;
  const pids = await lockHolders(dir, lockFile === undefined ? {} : { lockFileName: lockFile });
  if (pids === null) {
    throw new ExitError(
      EX_UNAVAILABLE,
      `Cannot determine which processes hold the lock on '${dir}'`,
    );
  }
  for (const pid of pids) say(String(pid));
  return pids.length === 0 ? 1 : 0;
});
