/**
 * A program of which only one runs at a time: a second one says who runs already, and ends. There
 * is no stale pid file to remove by hand, since the kernel frees the lock however the first one
 * ends.
 *
 * ```sh
 * deno run -A examples/single_instance.ts [DIR]
 * ```
 *
 * @module
 */
import { DirLock, lockHolders } from "@aperture/atomic";

const dir = Deno.args[0] ?? `${Deno.env.get("XDG_RUNTIME_DIR") ?? "/tmp"}/single-instance`;

// Held to the end of the program: neither `using` nor release().
const lock = await DirLock.tryAcquire(dir);
if (lock === null) {
  const holders = await lockHolders(dir);
  console.error(`It runs already${holders === null ? "" : `: process ${holders.join(", ")}`}`);
  Deno.exit(1);
}

console.log(`Process ${Deno.pid} is the one that runs; press Enter to end it`);
await Deno.stdin.read(new Uint8Array(1));
