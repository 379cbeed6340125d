import { runtime, useRuntime } from "../../runtime/mod.ts";
import type {
  FileSystem,
  LockFile,
  OpenFile,
  Runtime,
  SyncFileSystem,
} from "../../runtime/types.ts";

/** A call to the runtime: `rename`, `file.write`, `lock.tryLock` and so on. */
export interface SeamCall {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly form: "async" | "sync";
}

/** Runs before a call. It may change the arguments, or throw to make the call fail. */
export type Interceptor = (call: SeamCall, index: number) => readonly unknown[] | void;

/**
 * Calls `fn` with a runtime that passes each call to `intercept` before making it; returns the
 * calls.
 */
export async function intercepted(
  intercept: Interceptor,
  fn: () => unknown,
): Promise<SeamCall[]> {
  const calls: SeamCall[] = [];
  const real = runtime;
  useRuntime(wrap(real, (call) => intercept(call, calls.push(call) - 1)));
  try {
    await fn();
  } finally {
    useRuntime(real);
  }
  return calls;
}

/** Calls `fn` and returns the calls that it makes to the runtime. */
export function recorded(fn: () => unknown): Promise<SeamCall[]> {
  return intercepted(() => {}, fn);
}

/** Runtime calls that are synchronous even in asynchronous functions. */
const SYNC_CALLS = new Set(["lstat", "stat", "readLink", "chown", "chmod"]);

type Hook = (call: SeamCall) => readonly unknown[] | void;

function wrap(real: Runtime, hook: Hook): Runtime {
  return {
    ...real,
    windows: real.windows,
    refusesLinkedLocks: real.refusesLinkedLocks,
    foldsNames: real.foldsNames,
    async: wrapFileSystem(real.async, "async", hook),
    sync: wrapFileSystem(real.sync, "sync", hook) as SyncFileSystem,
    openLock: (path, access) => {
      hook({ name: "openLock", args: [path, access], form: "sync" });
      return wrapLock(real.openLock(path, access), hook);
    },
  };
}

function wrapFileSystem(real: FileSystem, form: "async" | "sync", hook: Hook): FileSystem {
  const before = (name: string, args: unknown[]) => {
    return hook({ name, args, form: SYNC_CALLS.has(name) ? "sync" : form });
  };
  return wrapMethods(real, before, (name, result) => {
    const kind = { create: "file", openExisting: "file", openDir: "directory" }[name];
    if (kind === undefined) return result;
    return form === "sync"
      ? wrapOpenFile(result as OpenFile, kind, form, hook)
      : (result as Promise<OpenFile>).then((file) => wrapOpenFile(file, kind, form, hook));
  }, form);
}

function wrapOpenFile(
  real: OpenFile,
  kind: string,
  form: "async" | "sync",
  hook: Hook,
): OpenFile {
  const before = (name: string, args: unknown[]) => {
    return hook({ name: `${kind}.${name}`, args, form: SYNC_CALLS.has(name) ? "sync" : form });
  };
  return wrapMethods(real, before, undefined, form);
}

function wrapLock(real: LockFile, hook: Hook): LockFile {
  return {
    ...wrapMethods(real, (name, args) => hook({ name: `lock.${name}`, args, form: "sync" })),
    id: real.id,
  };
}

/**
 * Wraps `target` so that each method calls `before` first. An error thrown by `before` looks as if
 * the method had thrown it.
 */
function wrapMethods<T extends object>(
  target: T,
  before: (name: string, args: unknown[]) => readonly unknown[] | void,
  after: (name: string, result: unknown) => unknown = (_, result) => result,
  form: "async" | "sync" = "sync",
): T {
  const wrapped: Record<string, unknown> = {};
  for (const name of methodNames(target)) {
    const method = target[name as keyof T];
    if (typeof method !== "function") continue;
    const isSync = form === "sync" || SYNC_CALLS.has(name);
    wrapped[name] = (...args: unknown[]) => {
      let changed: readonly unknown[] | void;
      try {
        changed = before(name, args);
      } catch (error) {
        // close(2) closes the descriptor even if it fails.
        const closed = name === "close" ? method.apply(target, args) : undefined;
        if (isSync) throw error;
        return Promise.resolve(closed).then(() => Promise.reject(error));
      }
      const passed = [...changed ?? [], ...args.slice(changed?.length ?? 0)];
      return after(name, method.apply(target, passed));
    };
  }
  return wrapped as T;
}

/** Returns the names of the object's methods, including inherited ones. */
function methodNames(target: object): Set<string> {
  const names = new Set(Object.keys(target));
  for (let proto = Object.getPrototypeOf(target); proto !== Object.prototype;) {
    for (const name of Object.getOwnPropertyNames(proto)) names.add(name);
    proto = Object.getPrototypeOf(proto);
  }
  names.delete("constructor");
  return names;
}

/** Creates an error like the one that the runtime throws for a failed call. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}
