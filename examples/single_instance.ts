/**
 * A program of which only one instance runs at a time. A second one reports the process id of the
 * first, and exits. There is no stale pid file to remove by hand, because the kernel frees the lock
 * however the first instance ends.
 *
 * @module
 */
import { tmpdir } from "node:os";
import process from "node:process";
import { DirLock, lockHolders } from "@aperture/atomic";

const dir = process.argv[2] ?? `${process.env.XDG_RUNTIME_DIR ?? tmpdir()}/single-instance`;

// Held until the program ends: neither `using` nor release().
const lock = await DirLock.tryAcquire(dir);
if (lock === null) {
  const holders = await lockHolders(dir);
  console.error(`Already running${holders === null ? "" : `: process ${holders.join(", ")}`}`);
  process.exit(1);
}

console.log(`Process ${process.pid} is the only instance; press Enter to end it`);
for await (const _ of process.stdin) break;
