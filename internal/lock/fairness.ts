import { clock } from "../base/clock.ts";
import { sharedState } from "../base/shared_state.ts";

/** How long a thread can keep reacquiring the same lock before it yields to other processes. */
const MAX_STREAK_MS = 20;
/**
 * If the lock is free for this long, the streak ends: other processes have had a chance to take it.
 */
const STREAK_GAP_MS = 1;

/**
 * When this thread's streak of holding a lock began, and when the thread last released the lock.
 */
interface Streak {
  readonly since: number;
  readonly released: number;
}

/** Streaks by lock file, oldest first. There can be several, since locks can be nested. */
const streaks = sharedState("streaks/1", () => new Map<string, Streak>());

/**
 * Whether the thread must first give other processes a chance to take the lock. Otherwise, a thread
 * that releases a lock and immediately reacquires it would always beat waiting processes, which
 * have to poll or be woken by the kernel.
 */
export function mustYield(path: string): boolean {
  const now = clock.now();
  return now - streakStart(path, now) > MAX_STREAK_MS;
}

/** The start time of the streak that a lock taken now would belong to. */
export function streakStart(path: string, now: number = clock.now()): number {
  const streak = streaks().get(path);
  return streak !== undefined && now - streak.released < STREAK_GAP_MS ? streak.since : now;
}

/** Records a release and removes streaks that have ended. */
export function noteRelease(path: string, since: number, released: number): void {
  const all = streaks();
  all.delete(path);
  all.set(path, { since, released });
  for (const [path, streak] of all) {
    if (released - streak.released < STREAK_GAP_MS) break;
    all.delete(path);
  }
}
