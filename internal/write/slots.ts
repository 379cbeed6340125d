import { untilAborted } from "../base/abort.ts";
import { LinkedList } from "../base/linked_list.ts";
import { sharedState } from "../base/shared_state.ts";
import type { Call } from "../base/steps.ts";

/**
 * More concurrent writes would use up file descriptors without being faster: Node has 4 threads for
 * file calls, and Deno has 32.
 */
const MAX_CONCURRENT_WRITES = 64;

const slots = sharedState("slots/1", () => ({ used: 0, waiting: new LinkedList<() => void>() }));

/**
 * Waits until fewer than 64 writes or syncs are running; returns the function that ends this one.
 * Synchronous steps never wait, nor do those that do not need a slot.
 */
export function enterSlot(signal?: AbortSignal, isNeeded = true): Call {
  return (_, isSync) => isSync || !isNeeded ? stay : enter(signal);
}

function enter(signal: AbortSignal | undefined): (() => void) | Promise<() => void> {
  const { used, waiting } = slots();
  if (used < MAX_CONCURRENT_WRITES) {
    slots().used++;
    return leave;
  }
  const turn = new Promise<void>((resolve) => void waiting.push(resolve)).then(() => leave);
  return untilAborted(turn, signal).catch((error) => {
    turn.then(leave); // The aborted write stays queued, then passes its slot on.
    throw error;
  });
}

/** Ends a write that has no slot. */
function stay(): void {}

/** Passes the slot on to the write that has waited the longest. */
function leave(): void {
  const next = slots().waiting.shift();
  if (next === undefined) slots().used--;
  else next();
}
