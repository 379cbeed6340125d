import { onAbort, throwIfAborted } from "../base/abort.ts";
import { LinkedList } from "../base/linked_list.ts";
import { pathKey } from "../base/paths.ts";
import { sharedState } from "../base/shared_state.ts";
import { call, run, runSync, type Steps } from "../base/steps.ts";

/**
 * A call's turn in the queue for a path. The library's ES module and CommonJS builds run each
 * other's turns, so they must agree on this interface.
 */
export interface Turn<T> {
  /**
   * The work to do, synchronously or asynchronously. A synchronous call for the path may start new
   * steps while earlier ones are still running asynchronously; from then on, the earlier steps must
   * not change the file.
   */
  steps(): Steps<T>;
  /** Of consecutive waiting turns with the same value, only the newest runs. */
  readonly merge?: string | undefined;
  /** Cancels the turn while it is waiting. Once the turn runs, its steps observe the signal. */
  readonly signal?: AbortSignal | undefined;
  /** Throws if a synchronous call cannot take over the turn now. */
  takeOver?(): void;
  /** Work done once for all merged turns, without holding up the next turn. */
  finish?(): Steps<void>;
}

/** A turn and the functions that settle its call's promise. */
interface Call {
  readonly turn: Turn<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  /**
   * Stops the signal from rejecting the call. Called once the steps observe the signal themselves,
   * or once the call has settled.
   */
  stopListening: () => void;
}

/** Calls that all complete when the last call's turn has run. */
interface Group {
  readonly calls: Call[];
  /** Settles when the asynchronous steps have finished. */
  running: Promise<unknown> | undefined;
}

/** This thread's calls for one path. */
interface Queue {
  readonly waiting: LinkedList<Call>;
  current: Group | undefined;
}

const queues = sharedState("turns/4", () => new Map<string, Queue>());

/**
 * Returns the key of a call's queue. The key is derived from the path that the caller passed, which
 * may be a link to `path`.
 */
export function queueKey({ path, calledAs = path }: { path: string; calledAs?: string }): string {
  return pathKey(calledAs);
}

/**
 * Joins a path's queue. Turns run one at a time, in call order; the first one starts before this
 * function returns.
 */
export function takeTurn<T>(key: string, turn: Turn<T>): Promise<T> {
  return new Promise<unknown>((resolve, reject) => {
    // `abort` events do not fire for already-aborted signals.
    throwIfAborted(turn.signal);
    let queue = queues().get(key);
    if (queue === undefined) {
      queue = { waiting: new LinkedList(), current: undefined };
      queues().set(key, queue);
    }
    const { waiting } = queue;
    const place = waiting.push({ turn, resolve, reject, stopListening: () => {} });
    place.value.stopListening = onAbort(turn.signal, () => {
      waiting.remove(place);
      place.value.stopListening();
      reject(turn.signal!.reason);
    });
    if (queue.current === undefined) drive(key, queue);
  }) as Promise<T>;
}

/**
 * Takes a turn synchronously, after completing all running and waiting turns for the path. If one
 * of those turns cannot run synchronously, throws without changing anything.
 */
export function takeTurnSync<T>(key: string, turn: Turn<T>): T {
  finishTurnsSync(key);
  const done = () => {};
  const calls = [{ turn, resolve: done, reject: done, stopListening: done }];
  // An update's function may make further calls for the path: asynchronous ones wait, and
  // synchronous ones throw.
  const queue: Queue = { waiting: new LinkedList(), current: { calls, running: undefined } };
  queues().set(key, queue);
  try {
    const value = runSync(turn.steps());
    if (turn.finish !== undefined) runSync(turn.finish());
    return value;
  } finally {
    if (queue.waiting.first === undefined) queues().delete(key);
    else drive(key, queue);
  }
}

/** Takes a turn, asynchronously or synchronously. */
export function inTurn<T>(key: string, turn: Turn<T>): Steps<T> {
  return call((_, isSync) => isSync ? takeTurnSync(key, turn) : takeTurn(key, turn));
}

/** Synchronously completes all running and waiting turns for a path. */
function finishTurnsSync(key: string): void {
  const queue = queues().get(key);
  if (queue === undefined) return;
  const { current, waiting } = queue;
  for (const { turn } of [...current?.calls ?? [], ...waiting]) turn.takeOver?.();
  queues().delete(key);
  queue.current = undefined; // This stops the asynchronous driver.
  // Calls settle only after the interrupted steps have removed their temporary file. `running` is
  // not yet set if this function is called during their first step.
  const ended = Promise.resolve().then(() => current?.running).catch(() => {});
  for (
    let calls = current?.calls ?? [];
    calls.length > 0 || (calls = nextGroup(waiting)).length > 0;
  ) {
    const call = calls.at(-1)!;
    for (const each of calls) each.stopListening();
    try {
      const value = runSync(call.turn.steps());
      const done = calls.splice(0);
      ended.then(() => settle(done, call.turn, value));
    } catch (error) {
      calls.pop();
      ended.then(() => call.reject(error));
    }
  }
}

/** Runs a path's turns until none are waiting or a synchronous call takes over. */
async function drive(key: string, queue: Queue): Promise<void> {
  while (queue.waiting.first !== undefined) {
    const calls = nextGroup(queue.waiting);
    while (calls.length > 0) {
      const call = calls.at(-1)!;
      call.stopListening();
      const group: Group = queue.current = { calls, running: undefined };
      try {
        const value = await (group.running = run(call.turn.steps()));
        if (queue.current === group) settle(calls.splice(0), call.turn, value);
      } catch (error) {
        // Only this call fails; the newest remaining turn then runs for the others.
        if (queue.current === group) calls.pop()!.reject(error);
      }
      if (queue.current !== group) return;
    }
  }
  queues().delete(key);
}

/** Settles calls once the rest of their turn's work is done. */
async function settle(calls: Call[], turn: Turn<unknown>, value: unknown): Promise<void> {
  try {
    if (turn.finish !== undefined) await run(turn.finish());
    for (const { resolve } of calls) resolve(value);
  } catch (error) {
    for (const { reject } of calls) reject(error);
  } finally {
    for (const { stopListening } of calls) stopListening();
  }
}

/** Dequeues the calls that a single turn completes. */
function nextGroup(waiting: LinkedList<Call>): Call[] {
  const first = waiting.shift();
  if (first === undefined) return [];
  const group = [first];
  const { merge } = first.turn;
  while (merge !== undefined && waiting.first?.value.turn.merge === merge) {
    group.push(waiting.shift()!);
  }
  return group;
}
