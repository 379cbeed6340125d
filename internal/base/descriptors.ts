import { codeOf } from "./errors.ts";

/** How long a call waits for descriptors in all, in milliseconds. */
export const PATIENCE: number = 60_000;
/** How long one does that blocks the thread, on which those who have them cannot go on. */
export const BLOCKING_PATIENCE: number = 1_000;

/** Whether a call found no free file descriptor, in the process (EMFILE) or the system (ENFILE). */
export function lacksDescriptors(error: unknown): boolean {
  const code = codeOf(error);
  return code === "EMFILE" || code === "ENFILE";
}

/** How long to wait each time, in milliseconds; 0 when it was long enough. */
export type DescriptorPauses = () => number;

/** The pauses of a wait for descriptors that lasts for `most` milliseconds in all. */
export function descriptorPauses(most: number): DescriptorPauses {
  let [pause, waited] = [1, 0];
  return () => {
    if (waited >= most) return 0;
    waited += pause;
    return pause = Math.min(pause * 2, 50);
  };
}
