import type { LockFile } from "../../runtime/types.ts";
import { clock } from "../base/clock.ts";
import { LinkedList, type Place } from "../base/linked_list.ts";
import { sharedState } from "../base/shared_state.ts";
import { DEADLOCK_WARNING_MS, watchWait } from "./deadlock_warning.ts";
import { noteRelease, streakStart } from "./fairness.ts";
import { freeLockFile, pathStillIs } from "./file.ts";
import type { LockRequest } from "./request.ts";

/** A lock that is held. */
export interface Hold {
  readonly dir: string;
  readonly path: string;
  readonly shared: boolean;
  /** The identity of the lock file. */
  readonly id: string;
  readonly file: LockFile;
  readonly queue: Queue;
  released: boolean;
  /** When the thread's current streak of holding the lock began. */
  readonly since: number;
  /** A unique prefix for the queue keys of updates under this lock. */
  readonly key: string;
}

/** A call that waits for a lock. */
export interface Waiter {
  readonly shared: boolean;
  /** Whether the wait has no timeout or signal, so that only acquiring the lock can end it. */
  readonly patient: boolean;
  /** Wakes the waiter from its pause. */
  wake: () => void;
}

/** How this thread holds a lock. */
interface Held {
  exclusive: boolean;
  shared: number;
}

/** A lock file's holders in this thread, and the calls waiting for the lock, in order. */
export interface Queue extends Held {
  readonly id: string;
  readonly waiters: LinkedList<Waiter>;
  /** How many of the waiters are blocked in the kernel. */
  inKernel: number;
  /** When the lock was last released. */
  released: number;
  /** Stops the timer that {@linkcode watch} started. */
  stopWatching?: (() => void) | undefined;
}

interface Shared {
  readonly queues: Map<string, Queue>;
  /** Maps public lock objects, including those from other copies of this module, to their holds. */
  readonly holds: WeakMap<object, Hold>;
}

/**
 * Shared by all copies of the module. Otherwise, acquireSync() could block on a lock that its
 * thread holds through another copy.
 */
const shared = sharedState<Shared>("locks/5", () => ({ queues: new Map(), holds: new WeakMap() }));

/**
 * The locks that this thread holds through any version of the library, by lock file. With this map,
 * versions that do not share queues can still detect a call that would block on a lock held by the
 * same thread. This state's shape must never change.
 */
const heldByThread = sharedState("held/1", () => new Map<string, Held>());

/** Whether blocking this thread until it gets the lock would prevent the lock's release. */
export function wouldDeadlock(id: string, shared: boolean): boolean {
  const held = heldByThread().get(id);
  // A waiter in the kernel might get the lock first, but could not release it while the thread is
  // blocked.
  return held !== undefined && !hasRoomFor(held, shared) || (findQueue(id)?.inKernel ?? 0) > 0;
}

/** Whether no call in this thread is waiting for the lock or holds it in a conflicting mode. */
export function isUnclaimed(id: string, shared: boolean): boolean {
  const queue = findQueue(id);
  return queue === undefined || queue.waiters.first === undefined && hasRoomFor(queue, shared);
}

/** Whether this thread neither holds a lock nor waits for one. */
export function isIdle(): boolean {
  return shared().queues.size === 0;
}

function findQueue(id: string): Queue | undefined {
  return shared().queues.get(id);
}

function queueOf(id: string): Queue {
  let queue = findQueue(id);
  if (queue === undefined) {
    queue = {
      id,
      exclusive: false,
      shared: 0,
      waiters: new LinkedList(),
      inKernel: 0,
      released: 0,
    };
    shared().queues.set(id, queue);
  }
  return queue;
}

/** Whether the current holders are compatible with another holder. */
function hasRoomFor(held: Held, shared: boolean): boolean {
  return !held.exclusive && (shared || held.shared === 0);
}

/** Joins the queue of a lock file. */
export function joinQueue(id: string, waiter: Waiter): [Queue, Place<Waiter>] {
  const queue = queueOf(id);
  return [queue, queue.waiters.push(waiter)];
}

/** Leaves the queue, with or without the lock. */
export function leaveQueue(queue: Queue, place: Place<Waiter>): void {
  queue.waiters.remove(place);
  advance(queue);
}

/** Whether it is a waiter's turn to compete with other processes. */
export function isNext(queue: Queue, place: Place<Waiter>): boolean {
  return queue.waiters.first === place && hasRoomFor(queue, place.value.shared);
}

/** Records a lock that was granted. */
export function hold(request: LockRequest, id: string, file: LockFile): Hold {
  const { dir, path, shared } = request;
  const queue = queueOf(id);
  const all = heldByThread();
  let held = all.get(id);
  if (held === undefined) all.set(id, held = { exclusive: false, shared: 0 });
  for (const each of [queue, held]) {
    if (shared) each.shared++;
    else each.exclusive = true;
  }
  return {
    dir,
    path,
    shared,
    id,
    file,
    queue,
    released: false,
    since: streakStart(path),
    key: `${id}/${Math.random()}`,
  };
}

/** Releases a lock and wakes the next waiter. Idempotent. */
export function release(hold: Hold): void {
  if (hold.released) return;
  hold.released = true;
  const { id, queue, file } = hold;
  const all = heldByThread();
  const held = all.get(id)!;
  for (const each of [queue, held]) {
    if (hold.shared) each.shared--;
    else each.exclusive = false;
  }
  if (hasRoomFor(held, false)) all.delete(id);
  queue.released = clock.now();
  noteRelease(hold.path, hold.since, queue.released);
  freeLockFile(file);
  advance(queue);
}

/** Wakes the head of the queue if it is compatible with the current holders. */
function advance(queue: Queue): void {
  const head = queue.waiters.first?.value;
  if (head === undefined) {
    queue.stopWatching?.();
    queue.stopWatching = undefined;
    if (hasRoomFor(queue, false)) shared().queues.delete(queue.id);
  } else if (hasRoomFor(queue, head.shared)) head.wake();
}

/** Whether a lock is still held and its path still refers to the locked file. */
export function isHeld(hold: Hold): boolean {
  return !hold.released && !hold.file.closed && pathStillIs(hold.path, hold.id);
}

/** Associates a public lock with its hold. */
export function setHold(lock: object, hold: Hold): void {
  shared().holds.set(lock, hold);
}

/** Returns the hold of a lock created by any copy of the module; undefined for other values. */
export function holdOf(lock: unknown): Hold | undefined {
  const hold = shared().holds.get(Object(lock));
  if (hold === undefined && typeof (lock as { release?: unknown } | null)?.release === "function") {
    throw new TypeError(
      "'lock' must be a DirLock from this version of @aperture/atomic: received one from another " +
        "version, or a proxy. Make all packages depend on the same version, and pass the lock itself",
    );
  }
  return hold;
}

/**
 * Keeps the process alive while calls wait in the queue, even if only this thread can end the wait.
 * Warns once per lock about a wait that may never end.
 */
export function watch(queue: Queue, path: string): void {
  queue.stopWatching ??= watchWait(path, () => {
    const head = queue.waiters.first?.value;
    if (head === undefined || !head.patient || hasRoomFor(queue, head.shared)) return undefined;
    if (clock.now() - queue.released < DEADLOCK_WARNING_MS) return undefined;
    return (
      `A call has waited ${DEADLOCK_WARNING_MS / 1_000} s for the lock on '${path}', which this ` +
      "thread already holds. If the call was made while holding the lock, it is waiting for " +
      "itself: pass the lock in the 'lock' option, or set a 'timeout'"
    );
  });
}
