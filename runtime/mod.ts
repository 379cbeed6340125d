import { denoRuntime } from "./deno/runtime.ts";
import { nodeRuntime } from "./node/runtime.ts";
import type { Runtime } from "./types.ts";

/** The platform that the library runs on. */
export let runtime: Runtime =
  // dnt-shim-ignore
  "Deno" in globalThis ? denoRuntime : nodeRuntime;

/** Puts another platform in place, for tests; returns the one that was there. */
export function useRuntime(next: Runtime): Runtime {
  const previous = runtime;
  runtime = next;
  return previous;
}
