/**
 * A program that allows only one instance at a time. A second instance prints the process ID of the
 * first one and exits. There is never a stale PID file to remove by hand, because the kernel
 * releases the lock even if the first instance crashes or is killed.
 *
 * @module
 */
import { tmpdir } from "node:os";
import process from "node:process";
import { DirLock, lockHolders } from "@aperture/atomic";

const dir = process.argv[2] ?? `${process.env.XDG_RUNTIME_DIR ?? tmpdir()}/single-instance`;

// The lock is never released explicitly; it is held until the program ends.
const lock = await DirLock.tryAcquire(dir);
if (lock === null) {
  const holders = await lockHolders(dir);
  console.error(`Already running${holders === null ? "" : `: process ${holders.join(", ")}`}`);
  process.exit(1);
}

console.log(`Process ${process.pid} is the only instance; press Enter to end it`);
for await (const _ of process.stdin) break;
