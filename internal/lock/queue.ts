import { runtime } from "../../runtime/mod.ts";
import type { LockFile } from "../../runtime/types.ts";
import { sharedState } from "../base/shared_state.ts";
import { LinkedList, type Place } from "../base/linked_list.ts";
import { freeLockFile, type NewLockPath, pathStillIs } from "./file.ts";
import { DEADLOCK_WARNING_MS, hasWarned, warn } from "./deadlock_warning.ts";

/** How long a thread may take a lock again and again before it gives way, in milliseconds. */
const MAX_STREAK_MS = 20;
/** Others had a chance to get a lock that was free for so long, in milliseconds. */
const STREAK_GAP_MS = 1;

/** A lock that is held. */
export interface Hold extends NewLockPath {
  readonly shared: boolean;
  /** The identity of the lock file. */
  readonly id: string;
  readonly file: LockFile;
  readonly queue: Queue;
  released: boolean;
  /** Since when this thread has had the lock, with no gap for others. */
  readonly since: number;
  /** Updates that were handed this lock, by the path of their target. */
  readonly updates: Map<string, HeldUpdates>;
}

/** Updates of one file under one lock, which are carried out one after another. */
export interface HeldUpdates {
  /** Resolved when all of them have ended; undefined before the first. */
  last: Promise<void> | undefined;
  count: number;
  /** How many wait with nothing to end that. */
  patient: number;
}

/** One who waits for a lock. */
export interface Waiter {
  readonly shared: boolean;
  /** Whether nothing but the lock ends the wait. */
  readonly patient: boolean;
  /** Ends the waiter's pause. */
  wake: () => void;
}

/** Who of this thread holds one lock file's lock, and who waits for it, in order. */
export interface Queue {
  readonly id: string;
  exclusive: boolean;
  shared: number;
  readonly waiters: LinkedList<Waiter>;
  /** How many of the waiters wait in the kernel. */
  inKernel: number;
  /** When a lock was freed last, and what watches over a wait that may never end. */
  freed: number;
  watch: unknown;
}

interface Shared {
  readonly queues: Map<string, Queue>;
  /** Who holds which lock, by the public object: that of another copy of the module is one too. */
  readonly holds: WeakMap<object, Hold>;
  /** Since when and until when this thread had a lock that was freed a moment ago, by its path. */
  readonly streaks: Map<string, { since: number; freed: number }>;
}

/** Copies have to see each other's locks, or acquireSync() could block on a lock of its own thread. */
const shared = sharedState<Shared>("locks/3", () => ({
  queues: new Map(),
  holds: new WeakMap(),
  streaks: new Map(),
}));

/** The queue of a lock file; undefined while nobody of this thread holds or waits. */
export function findQueue(id: string): Queue | undefined {
  return shared().queues.get(id);
}

function queueOf(id: string): Queue {
  const { queues } = shared();
  let queue = queues.get(id);
  if (queue === undefined) {
    queue = {
      id,
      exclusive: false,
      shared: 0,
      waiters: new LinkedList(),
      inKernel: 0,
      freed: 0,
      watch: undefined,
    };
    queues.set(id, queue);
  }
  return queue;
}

/** Whether the holders of this thread leave room for another one. */
export function hasRoomFor(queue: Queue, shared: boolean): boolean {
  return !queue.exclusive && (shared || queue.shared === 0);
}

/** Joins the queue of a lock file. */
export function joinQueue(id: string, waiter: Waiter, path: string): [Queue, Place<Waiter>] {
  const queue = queueOf(id);
  const place = queue.waiters.push(waiter);
  if (waiter.patient && !hasRoomFor(queue, waiter.shared)) watch(queue, path);
  return [queue, place];
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

/**
 * Notes that a lock was granted; undefined if the lock file is another one by now: someone
 * removed or replaced it before the lock was granted, and may hold the new one's.
 */
export function hold(
  lock: NewLockPath,
  shared: boolean,
  id: string,
  file: LockFile,
): Hold | undefined {
  if (!pathStillIs(lock, id)) return undefined;
  const queue = queueOf(id);
  if (shared) queue.shared++;
  else queue.exclusive = true;
  const { dir, path, createdDirs } = lock;
  const now = performance.now();
  const since = streakOf(path, now)?.since ?? now;
  return {
    dir,
    path,
    createdDirs,
    shared,
    id,
    file,
    queue,
    released: false,
    since,
    updates: new Map(),
  };
}

/** Frees a lock, and lets the next one have it; does nothing the second time. */
export function release(hold: Hold): void {
  if (hold.released) return;
  hold.released = true;
  const { queue, file } = hold;
  if (hold.shared) queue.shared--;
  else queue.exclusive = false;
  queue.freed = performance.now();
  noteStreak(hold, queue.freed);
  freeLockFile(file);
  advance(queue);
}

/** Lets the head of the queue go on, if there is room for it. */
function advance(queue: Queue): void {
  const head = queue.waiters.first?.value;
  if (head === undefined) {
    clearTimeout(queue.watch as number);
    queue.watch = undefined;
    if (!queue.exclusive && queue.shared === 0) shared().queues.delete(queue.id);
  } else if (hasRoomFor(queue, head.shared)) head.wake();
}

/** Whether a lock is held still, and its path leads to the locked file. */
export function isHeld(hold: Hold): boolean {
  return !hold.released && !hold.file.closed && pathStillIs(hold, hold.id);
}

/** Makes a public lock known as one that has `hold`. */
export function setHold(lock: object, hold: Hold): void {
  shared().holds.set(lock, hold);
}

/** What a value holds, if it is a lock of this module or of another copy of it. */
export function holdOf(lock: unknown): Hold | undefined {
  return shared().holds.get(Object(lock));
}

/**
 * Whether others should have a chance first. A thread that frees a lock and takes it again is
 * always quicker than those of other processes, whom the kernel has to wake or who poll.
 */
export function mustGiveWay(path: string): boolean {
  const now = performance.now();
  const streak = streakOf(path, now);
  return streak !== undefined && now - streak.since > MAX_STREAK_MS;
}

/** How long this thread has had a lock, if there was no gap since. */
function streakOf(path: string, now: number): { since: number; freed: number } | undefined {
  const streak = shared().streaks.get(path);
  return streak && now - streak.freed < STREAK_GAP_MS ? streak : undefined;
}

/** Of several locks: who holds one within another has both again and again. */
function noteStreak({ path, since }: Hold, freed: number): void {
  const { streaks } = shared();
  streaks.delete(path);
  streaks.set(path, { since, freed });
  // The oldest come first.
  for (const [path, streak] of streaks) {
    if (freed - streak.freed < STREAK_GAP_MS) break;
    streaks.delete(path);
  }
}

/** Warns once in a process's life of a wait that may never end: for who is itself the holder. */
function watch(queue: Queue, path: string, since: number = performance.now()): void {
  if (hasWarned() || queue.watch !== undefined) return;
  const check = () => {
    queue.watch = undefined;
    const silent = performance.now() - Math.max(since, queue.freed);
    const head = queue.waiters.first?.value;
    if (head === undefined || hasRoomFor(queue, head.shared)) return;
    if (silent < DEADLOCK_WARNING_MS) return watch(queue, path, queue.freed);
    warn(
      `A call has waited ${
        DEADLOCK_WARNING_MS / 1_000
      } s for the lock '${path}', which this same thread ` +
        "holds. If it was made while holding the lock, it waits for itself: hand the lock on " +
        "with the option { lock }, or acquire with a timeout",
    );
  };
  queue.watch = setTimeout(check, DEADLOCK_WARNING_MS);
  runtime.unref(queue.watch);
}
