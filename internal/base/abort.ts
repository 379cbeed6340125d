import { abortReason } from "./errors.ts";

/** The waits on one signal. They share one `abort` listener, which notifies all of them. */
interface Waits {
  readonly listeners: Set<() => void>;
  readonly notify: () => void;
}

const waitsOn = new WeakMap<AbortSignal, Waits>();

/**
 * Calls `listener` when a signal is aborted, unless the returned function is called first. All
 * waits on a signal share one listener, because Node 20 warns of a leak if a signal has more than
 * ten listeners.
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => {};
  let waits = waitsOn.get(signal);
  if (waits === undefined) {
    const listeners = new Set<() => void>();
    waits = { listeners, notify: () => listeners.forEach((each) => each()) };
    waitsOn.set(signal, waits);
    signal.addEventListener("abort", waits.notify);
  }
  const { listeners, notify } = waits;
  // Wrap the listener, because a caller may pass the same function for two waits.
  const own = () => listener();
  listeners.add(own);
  return () => {
    if (!listeners.delete(own) || listeners.size > 0) return;
    waitsOn.delete(signal);
    signal.removeEventListener("abort", notify);
  };
}

/**
 * Throws the signal's reason if the signal is aborted. Not every polyfill has `throwIfAborted()`.
 */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortReason(signal.reason);
}

/** Settles as `work` does, or rejects as soon as the signal is aborted. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const stopListening = onAbort(signal, () => reject(signal.reason));
    work.finally(stopListening).then(resolve, reject);
    if (signal.aborted) reject(signal.reason);
  });
}
