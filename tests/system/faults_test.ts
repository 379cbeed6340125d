/**
 * Makes each call to the runtime fail in turn. The operation must then fail with that call's error,
 * unless it can tolerate the failure. Afterwards, the target must be complete, and nothing else may
 * be left behind.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import {
  AtomicFile,
  atomicUpdate,
  atomicWrite,
  type AtomicWriteOptions,
  atomicWriteSync,
  DirLock,
} from "../../mod.ts";
import { runtime } from "../../runtime/mod.ts";
import { blobOf, content, numberOf } from "../support/content.ts";
import { inTempDir, list, openDescriptors } from "../support/dir.ts";
import { intercepted, recorded, type SeamCall, systemError } from "../support/runtime.ts";
import { isRoot, isWindows, test } from "../support/test.ts";

const OLD = content(1, 5_000);
const NEW = content(2, 70_000);
/**
 * The old file's modification time, which is fixed so that an update always makes the same calls.
 */
const MODIFIED_S = 1_000_000_000;

type Write = (file: string, options: AtomicWriteOptions) => unknown;

const writers: Record<string, Write> = {
  "atomicWrite() of bytes": (file, options) => atomicWrite(file, NEW, options),
  "atomicWrite() of a stream": (file, options) => atomicWrite(file, blobOf(NEW), options),
  "atomicWriteSync()": (file, options) => atomicWriteSync(file, NEW, options),
  "AtomicFile": async (file, options) => {
    await using draft = await AtomicFile.open(file, options);
    await draft.write(NEW.subarray(0, 30_000));
    await draft.write(NEW.subarray(30_000));
    await draft.commit();
  },
  "atomicUpdate()": (file, options) => atomicUpdate(file, () => NEW, options),
  // This update reads the file a second time, because the modification time would not reveal a
  // change.
  "atomicUpdate() soon after another writer": async (file, options) => {
    const { now } = Date;
    Date.now = () => 1_000 * MODIFIED_S;
    try {
      await atomicUpdate(file, () => NEW, options);
    } finally {
      Date.now = now;
    }
  },
};

const settings: [string, AtomicWriteOptions][] = [
  ["none", { durability: "none" }],
  // "durable" makes the same calls as "consistent", plus one.
  ["durable", { durability: "durable" }],
  ["an explicit mode", { mode: 0o640, durability: "none" }],
];

/** Whether an operation may succeed although this call to the runtime failed. */
function isTolerated({ name, form }: SeamCall, code: string): boolean {
  // An operation tolerates failures when it releases the lock, cleans up, makes a call that a file
  // system may refuse, or checks for other writers (it then rereads the file).
  return name === "stat" || (name === "readFile" && form === "sync") || name === "lock.unlock" ||
    name === "lock.close" || name === "directory.close" || name === "remove" ||
    (["file.chown", "file.chmod"].includes(name) && code === "EPERM") ||
    (isWindows && name === "rename" && code === "EPERM");
}

for (const [what, write] of Object.entries(writers)) {
  for (const [how, options] of settings) {
    for (const existing of [true, false]) {
      if (!existing && what.includes("another writer")) continue;
      const title = `${what} with ${how}, ${existing ? "replacing" : "creating"} a file`;
      test(`${title}, survives a failure of each call`, () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, "file");
          const reset = () => {
            fs.rmSync(file, { force: true });
            if (!existing) return;
            fs.writeFileSync(file, OLD);
            fs.chmodSync(file, 0o666);
            if (isRoot) fs.chownSync(file, 7, 8);
            fs.utimesSync(file, MODIFIED_S, MODIFIED_S);
          };
          reset();
          await write(file, options); // This creates the lock file.
          reset();
          const calls = await recorded(() => write(file, options));
          assert(calls.length > 2);
          const descriptors = openDescriptors();
          for (let at = 0; at < calls.length; at++) {
            // `prove/faults.ts` makes the kernel return a wider range of errors.
            for (const code of ["EIO", "EPERM"]) {
              reset();
              const injected = systemError(code);
              let failed: SeamCall | undefined;
              let error: (Error & { replaced?: boolean; code?: string }) | undefined;
              await intercepted((call, index) => {
                if (index !== at) return;
                failed = call;
                throw injected;
              }, async () => {
                try {
                  await write(file, options);
                } catch (thrown) {
                  error = thrown as Error;
                }
              });
              const where = `${failed!.name} with ${code}`;
              const retried = failed!.name === "openLock" &&
                (code === "EPERM" || runtime.refusesLinkedLocks);
              if (!isTolerated(failed!, code) && !retried) assertEquals(error, injected, where);
              if (error !== undefined) assertEquals(error.code, code, where);
              const now = fs.existsSync(file) ? numberOf(fs.readFileSync(file)) : 0;
              const synced = ["openDir", "directory.sync"].includes(failed!.name);
              assertEquals(now, error === undefined || synced ? 2 : existing ? 1 : 0, where);
              if (error?.replaced !== undefined) assertEquals(error.replaced, synced, where);
              // A failed clean-up leaves a temporary file, which only a sweep can remove.
              const left = list(dir).filter((name) => name !== "file");
              if (failed!.name !== "remove") assertEquals(left, [], where);
              for (const name of left) fs.rmSync(path.join(dir, name));
              assertEquals(openDescriptors(), descriptors, where);
            }
          }
        }));
    }
  }
}

test("atomicWrite() keeps the first error when the clean-up also fails", () =>
  inTempDir(async (dir) => {
    const first = systemError("EIO");
    let error: unknown;
    await intercepted(({ name }) => {
      if (name === "file.sync") throw first;
      if (name === "file.close" || name === "remove") throw systemError("EBADF");
    }, async () => {
      error = await atomicWrite(path.join(dir, "file"), "x").catch((error) => error);
    });
    assertEquals(error, first);
  }));

test("atomicWrite() never retries a failed sync", () =>
  inTempDir(async (dir) => {
    const calls = await intercepted(({ name }) => {
      if (name === "file.sync") throw systemError("EIO");
    }, () => atomicWrite(path.join(dir, "file"), "x").catch(() => {}));
    assertEquals(calls.filter(({ name }) => name === "file.sync").length, 1);
  }));

test("atomicWrite() succeeds when directories cannot be synced", () =>
  inTempDir(async (dir) => {
    for (const code of ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]) {
      await intercepted(({ name }) => {
        if (name === "directory.sync") throw systemError(code);
      }, () => atomicWrite(path.join(dir, "file"), code, { durability: "durable" }));
    }
  }));

test("atomicWrite() succeeds when changes to owner and mode are refused", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (const code of ["EPERM", "EACCES", "EINVAL", "ENOSYS", "ENOTSUP"]) {
      for (const durability of ["none", "consistent"] as const) {
        for (const options of [{}, { mode: 0o600 }]) {
          fs.writeFileSync(file, OLD);
          fs.chmodSync(file, 0o666);
          await intercepted(({ name }) => {
            if (name === "file.chmod" || name === "file.chown") throw systemError(code);
          }, () => atomicWrite(file, NEW, { durability, ...options }));
          assertEquals(numberOf(fs.readFileSync(file)), 2);
        }
      }
    }
  }));

test(
  "atomicWrite() drops set-id and group permission bits when the owner cannot be kept",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      for (
        const [mode, wanted] of [
          [0o6775, 0o0755],
          [0o4640, 0o0600],
          [0o2664, 0o0644],
          [0o0604, 0o0600],
        ] as const
      ) {
        fs.writeFileSync(file, OLD);
        fs.chownSync(file, 7, 8);
        fs.chmodSync(file, mode);
        await intercepted(({ name }) => {
          if (name === "file.chown") throw systemError("EPERM");
        }, () => atomicWrite(file, NEW));
        assertEquals(fs.statSync(file).mode & 0o7777, wanted);
      }
    }),
  { skip: !isRoot && "only root can change the owner" },
);

test(
  "atomicWrite() keeps the group when it is not permitted to keep the owner",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, OLD);
      fs.chownSync(file, 7, 8);
      fs.chmodSync(file, 0o6664);
      await intercepted(({ name, args }) => {
        if (name === "file.chown" && args[1] !== 0) throw systemError("EPERM");
      }, () => atomicWrite(file, NEW));
      const { uid, gid, mode } = fs.statSync(file);
      assertEquals([uid, gid, mode & 0o7777], [0, 8, 0o2664]);
    }),
  { skip: !isRoot && "only root can change the owner" },
);

test("atomicWrite() continues short writes", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (const write of [atomicWrite, atomicWriteSync]) {
      fs.rmSync(file, { force: true });
      const calls = await intercepted(({ name, args }) => {
        if (name === "file.write") return [(args[0] as Uint8Array).subarray(0, 9_999)];
      }, () => write(file, NEW));
      assertEquals(calls.filter(({ name }) => name === "file.write").length, 8);
      assertEquals(numberOf(fs.readFileSync(file)), 2);
    }
  }));

test("atomicWrite() continues a write that a signal interrupts", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (const write of [atomicWrite, atomicWriteSync]) {
      let interrupts = 3;
      await intercepted(({ name }) => {
        if (name === "file.write" && interrupts-- > 0) throw systemError("EINTR");
      }, () => write(file, NEW));
      assertEquals([numberOf(fs.readFileSync(file)), interrupts], [2, -1]);
    }
  }));

test("atomicWrite() fails when a call writes no bytes", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (const write of [atomicWrite, atomicWriteSync]) {
      let error: (Error & { code?: string }) | undefined;
      await intercepted(({ name }) => {
        if (name === "file.write") return [new Uint8Array(0)];
      }, async () => {
        try {
          await write(file, NEW);
        } catch (thrown) {
          error = thrown as Error;
        }
      });
      assertEquals([error?.code, list(dir)], ["EIO", []]);
    }
  }));

test("atomicWrite() names the target and the step in its error", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    await intercepted(({ name }) => {
      if (name === "rename") throw systemError("EIO");
    }, async () => {
      const error = await atomicWrite(file, "x").catch((error) => error);
      assertEquals(error.message, `Cannot write '${file}': EIO: injected`);
      assertEquals([error.step, error.target, error.replaced], ["rename", file, false]);
      assert(error.stack.includes(error.message));
    });
  }));

test("atomicWrite() rejects with an error of the runtime's own class", () =>
  inTempDir(async (dir) => {
    const error = await atomicWrite(path.join(dir, "no", "file"), "x").catch((error) => error);
    const own = assertThrows(() => runtime.sync.readFile(path.join(dir, "no", "file")), Error);
    const { syscall } = own as Error & { syscall?: string };
    assertEquals(
      [error.constructor, error.code, error.syscall],
      [own.constructor, "ENOENT", syscall],
    );
  }));

for (const form of ["acquire", "tryAcquire", "acquireSync", "tryAcquireSync"] as const) {
  test(`DirLock.${form}() leaves nothing open when a call fails`, () =>
    inTempDir(async (root) => {
      const dir = path.join(root, "dir");
      const calls = await recorded(async () => (await DirLock[form](dir))!.release());
      assert(calls.length > 6);
      const descriptors = openDescriptors();
      for (let at = 0; at < calls.length; at++) {
        fs.rmSync(dir, { recursive: true });
        const injected = systemError("EIO");
        let error: unknown;
        await intercepted((_, index) => {
          if (index === at) throw injected;
        }, async () => {
          try {
            (await DirLock[form](dir))!.release();
          } catch (thrown) {
            error = thrown;
          }
        });
        const { name } = calls[at]!;
        // A new lock file gets the directory's mode where possible.
        const isTolerated = /unlock|lock.close|^stat|file.stat|chmod|chown/.test(name) ||
          // Where the kernel can refuse to open a link, the lock file is opened first and inspected
          // only if that fails.
          runtime.refusesLinkedLocks && at === calls.findIndex(({ name }) => name === "openLock");
        if (!isTolerated || error !== undefined) assertEquals(error, injected, name);
        assertEquals(openDescriptors(), descriptors, name);
        (await DirLock[form](dir))!.release();
      }
    }));
}
