import { untilAborted } from "../base/abort.ts";
import { LinkedList } from "../base/linked_list.ts";
import { sharedState } from "../base/shared_state.ts";
import type { Steps } from "../base/steps.ts";

/**
 * More concurrent writes would use up file descriptors without being faster: Node has 4 threads for
 * file calls, and Deno has 32.
 */
const MAX_CONCURRENT_WRITES = 64;

const slots = sharedState("slots/1", () => ({ used: 0, waiting: new LinkedList<() => void>() }));

/** Runs steps that write or sync, at most 64 concurrently. Synchronous steps never wait. */
export function* inSlot(signal: AbortSignal | undefined, steps: () => Steps<void>): Steps<void> {
  let isSync = false;
  yield (_, sync) => {
    isSync = sync;
    return sync ? undefined : enter(signal);
  };
  try {
    yield* steps();
  } finally {
    if (!isSync) leave();
  }
}

function enter(signal: AbortSignal | undefined): Promise<void> | undefined {
  const { used, waiting } = slots();
  if (used < MAX_CONCURRENT_WRITES) {
    slots().used++;
    return undefined;
  }
  const turn = new Promise<void>((resolve) => void waiting.push(resolve));
  return untilAborted(turn, signal).catch((error) => {
    turn.then(leave); // The aborted write stays queued, then passes its slot on.
    throw error;
  });
}

/** Passes the slot on to the write that has waited the longest. */
function leave(): void {
  const next = slots().waiting.shift();
  if (next === undefined) slots().used--;
  else next();
}
