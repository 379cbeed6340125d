import { runtime } from "../../runtime/mod.ts";
import { onAbort, throwIfAborted } from "../base/abort.ts";
import { pathKey } from "../base/paths.ts";
import { sharedState } from "../base/shared_state.ts";
import { LinkedList, type Place } from "../base/linked_list.ts";

/**
 * What has its turn on a path. Copies of this module, an ESM and a CommonJS one, carry out each
 * other's, and so nothing is asked of it but this.
 */
export interface Turn {
  /** Of turns that wait side by side with equal ones, only the newest is carried out. */
  readonly merge: string | undefined;
  /** Whether it is of the limited number of writes that are under way at once. */
  readonly counted: boolean;
  /** Whether it cannot be carried out synchronously: a Blob's bytes come as a promise. */
  readonly asyncOnly: boolean;
  readonly signal: AbortSignal | undefined;
  carryOut(): Promise<void>;
  carryOutSync(): void;
  /**
   * Ends {@linkcode Turn.carryOut} wherever it is, so that it does nothing more to the target, and
   * tells how far it has come.
   */
  takeOver(): TakeOver;
  /** What is left to do when the turn is over: once, for all that were merged into it. */
  finish(): Promise<void>;
  /** Whether nothing is left to do. */
  readonly isFinished: boolean;
  /** The error of a turn that cannot be had, as its call is to tell it. */
  failure(error: Error): unknown;
}

/** The key of the queue of a path, which is that of the call: `calledAs` may be a link to `path`. */
export function queueKey({ path, calledAs = path }: { path: string; calledAs?: string }): string {
  return pathKey(calledAs);
}

/** Whether a turn had taken effect when it was taken over, or has failed. */
export type TakeOver = "landed" | "unfinished" | { readonly error: unknown };

/** A turn with the promise of the call that waits for it. */
interface Call {
  readonly turn: Turn;
  readonly resolve: (carriedOut: Turn) => void;
  readonly reject: (error: unknown) => void;
  started: boolean;
}

/** The calls of this process on one path. */
interface Queue {
  readonly waiting: LinkedList<Call>;
  /** Those that are carried out now by writing the last of them; a new array for each. */
  group: Call[] | undefined;
}

interface Shared {
  readonly queues: Map<string, Queue>;
  /** How many counted turns are under way, and who waits until they are fewer. */
  underWay: number;
  readonly waiting: LinkedList<() => void>;
}

/**
 * More at once are no faster, since Node has 4 threads for file calls and Deno 32, and would fight
 * for descriptors.
 */
const MAX_CONCURRENT_WRITES = 64;

const BLOB_WAITS = "A write of a Blob to the same path is not done, and no synchronous call " +
  "can read a Blob: await it first";

const shared = sharedState<Shared>("turns/2", () => ({
  queues: new Map(),
  underWay: 0,
  waiting: new LinkedList(),
}));

/**
 * Joins the queue of a path. Turns are carried out in the order of the calls to this function,
 * one after another, the first of them from within the call.
 *
 * @returns The turn that was carried out: this one, or an equal one that came later.
 */
export function takeTurn(key: string, turn: Turn): Promise<Turn> {
  return new Promise((resolve, reject) => {
    // Who waits is told of an abort that comes later, not of one that has come.
    throwIfAborted(turn.signal);
    const { queues } = shared();
    let queue = queues.get(key);
    if (queue === undefined) {
      queues.set(key, queue = { waiting: new LinkedList(), group: undefined });
    }
    const call: Call = { turn, resolve, reject, started: false };
    const place = queue.waiting.push(call);
    if (turn.signal !== undefined) leaveOnAbort(queue, place);
    if (queue.group === undefined) drive(key, queue);
  });
}

/** Carries out a turn now, with synchronous calls, after all that were taken before on the path. */
export function takeTurnSync(key: string, turn: Turn): void {
  const left = finishWaiting(key);
  try {
    // As if they had waited side by side. With unequal ones more than a version would be lost.
    const isEqual = (call: Call) => turn.merge !== undefined && call.turn.merge === turn.merge;
    if (!left.every(isEqual)) throw turn.failure(runtime.error("EBUSY", BLOB_WAITS, key));
    turn.carryOutSync();
    for (const call of left) call.resolve(turn);
  } catch (error) {
    if (left.length > 0) putBack(key, left);
    throw error;
  }
}

function putBack(key: string, calls: Call[]): void {
  const queue: Queue = { waiting: new LinkedList(), group: undefined };
  for (const call of calls) {
    call.started = false;
    queue.waiting.push(call);
  }
  shared().queues.set(key, queue);
  drive(key, queue);
}

/** Carries out what is next on the path until nothing waits, unless somebody takes over. */
async function drive(key: string, queue: Queue): Promise<void> {
  for (;;) {
    const group = queue.group = nextGroup(queue.waiting);
    const isTakenOver = () => queue.group !== group;
    while (group.length > 0) {
      const call = group.at(-1)!;
      if (call.turn.counted && !tryEnter()) await enter();
      let failure: { error: unknown } | undefined;
      if (!isTakenOver()) {
        call.started = true;
        try {
          await call.turn.carryOut();
        } catch (error) {
          failure = { error };
        }
      }
      if (call.turn.counted) leave();
      if (isTakenOver()) return;
      if (failure === undefined) {
        for (const { resolve } of group) resolve(call.turn);
        break;
      }
      // Its own failure; the next newest is as good for the others.
      call.reject(failure.error);
      group.pop();
    }
    if (queue.waiting.first === undefined) {
      shared().queues.delete(key);
      return;
    }
  }
}

/**
 * Carries out synchronously what is under way and what waits on a path, as far as that can be.
 *
 * @returns Those that are left, from the first on that cannot be: the caller settles them.
 */
function finishWaiting(key: string): Call[] {
  const queue = shared().queues.get(key);
  if (queue === undefined) return [];
  const underWay = queue.group?.at(-1);
  let group = queue.group ?? [];
  const state = underWay?.started ? underWay.turn.takeOver() : "unfinished";
  if (state === "landed") {
    for (const { resolve } of group) resolve(underWay!.turn);
    group = [];
  } else if (state !== "unfinished") {
    underWay!.reject(state.error);
    group = group.slice(0, -1);
  }
  if (group.length === 0) group = nextGroup(queue.waiting);
  // The asynchronous driver finds that it has been taken over, and stops.
  queue.group = undefined;
  shared().queues.delete(key);
  for (; group.length > 0; group = nextGroup(queue.waiting)) {
    while (group.length > 0) {
      const { turn, reject } = group.at(-1)!;
      if (turn.asyncOnly) return [...group, ...rest(queue.waiting)];
      try {
        turn.carryOutSync();
        for (const { resolve } of group) resolve(turn);
        break;
      } catch (error) {
        reject(error);
        group.pop();
      }
    }
  }
  return [];
}

function* rest(waiting: LinkedList<Call>): Generator<Call> {
  for (let call = waiting.shift(); call !== undefined; call = waiting.shift()) yield call;
}

/** Takes the calls off a queue's front that are carried out by the newest of them. */
function nextGroup(waiting: LinkedList<Call>): Call[] {
  const first = waiting.shift();
  if (first === undefined) return [];
  const group = [first];
  if (waiting.first === undefined) return group;
  const { merge } = first.turn;
  while (merge !== undefined && waiting.first?.value.turn.merge === merge) {
    group.push(waiting.shift()!);
  }
  return group;
}

/** Rejects a call when its signal is aborted before its turn; from then on the turn does it. */
function leaveOnAbort(queue: Queue, place: Place<Call>): void {
  const { turn, resolve, reject } = place.value;
  const stopListening = onAbort(turn.signal, () => {
    if (place.value.started) return;
    queue.waiting.remove(place);
    place.value.reject(turn.signal!.reason);
  });
  Object.assign(place.value, {
    resolve: (carriedOut: Turn) => {
      stopListening();
      resolve(carriedOut);
    },
    reject: (error: unknown) => {
      stopListening();
      reject(error);
    },
  });
}

function tryEnter(): boolean {
  const all = shared();
  if (all.underWay >= MAX_CONCURRENT_WRITES) return false;
  all.underWay++;
  return true;
}

/** Waits for a place among the writes under way, which whoever leaves hands on. */
function enter(): Promise<void> {
  return new Promise((resolve) => shared().waiting.push(resolve));
}

function leave(): void {
  const next = shared().waiting.shift();
  if (next === undefined) shared().underWay--;
  else next();
}
