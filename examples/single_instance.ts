/**
 * A program that allows only one instance at a time. A second instance reports the process id of
 * the first and exits. There is no stale pid file to remove by hand, because the kernel releases
 * the lock even if the first instance crashes or is killed.
 *
 * @module
 */
import { tmpdir } from "node:os";
import process from "node:process";
import { DirLock, lockHolders } from "@aperture/atomic";

const dir = process.argv[2] ?? `${process.env.XDG_RUNTIME_DIR ?? tmpdir()}/single-instance`;

// Held until the program ends, so there is no `using` or release().
const lock = await DirLock.tryAcquire(dir);
if (lock === null) {
  const holders = await lockHolders(dir);
  console.error(`Already running${holders === null ? "" : `: process ${holders.join(", ")}`}`);
  process.exit(1);
}

console.log(`Process ${process.pid} is the only instance; press Enter to end it`);
for await (const _ of process.stdin) break;
