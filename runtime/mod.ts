import { denoRuntime } from "./deno/runtime.ts";
import { nodeRuntime } from "./node/runtime.ts";
import type { Runtime } from "./types.ts";

/** The platform the library runs on. */
export let runtime: Runtime =
  // dnt-shim-ignore
  "Deno" in globalThis ? denoRuntime : nodeRuntime;

/** Replaces the platform for tests and returns the previous one. */
export function useRuntime(next: Runtime): Runtime {
  const previous = runtime;
  runtime = next;
  return previous;
}
