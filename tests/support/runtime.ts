import { runtime, useRuntime } from "../../runtime/mod.ts";
import type {
  FileSystem,
  LockFile,
  OpenFile,
  Runtime,
  SyncFileSystem,
} from "../../runtime/types.ts";

/** A call that went through the seam: `rename`, `file.write`, `lock.tryLock` and so on. */
export interface SeamCall {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly form: "async" | "sync";
}

/** May throw in place of a call, or change its arguments. */
export type Interceptor = (call: SeamCall, index: number) => readonly unknown[] | void;

/**
 * Calls `fn` with a runtime in place that hands each call to `intercept` first;
 * returns the calls that were made.
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

/** The calls that `fn` makes. */
export function recorded(fn: () => unknown): Promise<SeamCall[]> {
  return intercepted(() => {}, fn);
}

/** What is synchronous in both forms. */
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
    if (name !== "create" && name !== "openExisting") return result;
    return form === "sync"
      ? wrapOpenFile(result as OpenFile, form, hook)
      : (result as Promise<OpenFile>).then((file) => wrapOpenFile(file, form, hook));
  }, form);
}

function wrapOpenFile(real: OpenFile, form: "async" | "sync", hook: Hook): OpenFile {
  const before = (name: string, args: unknown[]) => {
    return hook({ name: `file.${name}`, args, form: SYNC_CALLS.has(name) ? "sync" : form });
  };
  return wrapMethods(real, before, undefined, form);
}

function wrapLock(real: LockFile, hook: Hook): LockFile {
  return {
    ...wrapMethods(real, (name, args) => hook({ name: `lock.${name}`, args, form: "sync" })),
    id: real.id,
  };
}

/** `target` with each method going through `before`; an error of it comes as the method's would. */
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
      let changed: readonly unknown[];
      try {
        changed = before(name, args) ?? args;
      } catch (error) {
        // A close that fails has closed all the same, close(2).
        const closed = name === "close" ? method.apply(target, args) : undefined;
        if (isSync) throw error;
        return Promise.resolve(closed).then(() => Promise.reject(error));
      }
      return after(name, method.apply(target, changed));
    };
  }
  return wrapped as T;
}

/** Own methods, and those of the classes that it is of. */
function methodNames(target: object): Set<string> {
  const names = new Set(Object.keys(target));
  for (let proto = Object.getPrototypeOf(target); proto !== Object.prototype;) {
    for (const name of Object.getOwnPropertyNames(proto)) names.add(name);
    proto = Object.getPrototypeOf(proto);
  }
  names.delete("constructor");
  return names;
}

/** An error as the runtime makes it for a failed call. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}
