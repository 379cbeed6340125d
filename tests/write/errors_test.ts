/** Errors from failed writes: the step, the target, whether it was replaced, and what to do. */
import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import {
  atomicWrite,
  type AtomicWriteError,
  type AtomicWriteOptions,
  atomicWriteSync,
  isAtomicWriteError,
} from "../../mod.ts";
import { inTempDir, list } from "../support/dir.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { isWindows, test, testWithLinks } from "../support/test.ts";
import { waysToWrite } from "../support/ways.ts";

const ways = waysToWrite("new");

/** Returns the error of a write, which must be an AtomicWriteError. */
async function failureOf(write: () => unknown): Promise<AtomicWriteError> {
  const error = await assertRejects(() => Promise.resolve().then(write));
  assert(isAtomicWriteError(error));
  return error;
}

const steps: [string, string, AtomicWriteOptions][] = [
  ["file.sync", "fsync", {}],
  ["file.close", "close", {}],
  ["rename", "rename", {}],
  ["link", "link", { createNew: true }],
  ...isWindows ? [] : [["directory.sync", "fsync directory", { durability: "durable" }]] as [
    string,
    string,
    AtomicWriteOptions,
  ][],
];
for (const [what, write] of ways) {
  test(`${what} reports the step that failed, the target, and whether it was replaced`, () =>
    inTempDir(async (dir) => {
      for (const [call, step, options] of steps) {
        const file = path.join(dir, `file-${call}`);
        const injected = systemError("EIO");
        await intercepted(({ name }) => {
          if (name === call) throw injected;
        }, async () => {
          const error = await failureOf(() => write(file, options));
          assertStrictEquals(error as unknown, injected);
          assertEquals(
            [error.code, error.step, error.target, error.replaced, error.temp],
            ["EIO", step, file, call === "directory.sync", undefined],
          );
        });
      }
    }));

  for (const durability of ["none", "consistent"] as const) {
    for (const mode of [undefined, 0o600]) {
      const how = `durability "${durability}"${mode === undefined ? "" : " and a mode"}`;
      test(`${what} reports the step "open" when the temporary file cannot be created, with ${how}`, () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, "missing", "file");
          if (what === "atomicUpdate()") return;
          const error = await failureOf(() => write(file, { durability, ...mode && { mode } }));
          assertEquals([error.code, error.step, error.target], ["ENOENT", "open", file]);
        }));
    }
  }

  // Updates refuse these targets before they write.
  if (what === "atomicUpdate()") continue;
  test(`${what} reports the step when it refuses the target`, () =>
    inTempDir(async (dir) => {
      const taken = path.join(dir, "taken");
      fs.writeFileSync(taken, "");
      const refused = [
        await failureOf(() => write(dir)),
        await failureOf(() => write(taken, { createNew: true })),
        await failureOf(() => write(`${dir}/nothing/`)),
      ];
      assertEquals(refused.map(({ code }) => code), ["EISDIR", "EEXIST", "EISDIR"]);
      for (const { step } of refused) {
        assert(typeof step === "string" && step !== "");
        for (const call of ["lstat", "stat", "open", "write", "readlink", "rename", "link"]) {
          assert(step !== call, step);
        }
      }
    }));
}

for (const durability of ["none", "consistent"] as const) {
  test(`atomicWrite() reports the step "write" when the bytes cannot be written, with durability "${durability}"`, () =>
    inTempDir(async (dir) => {
      for (const [what, write] of ways) {
        const injected = systemError("ENOSPC");
        await intercepted(({ name }) => {
          if (name === "file.write") throw injected;
        }, async () => {
          const error = await failureOf(() => write(path.join(dir, "file"), { durability }));
          assertEquals([error.code, error.step], ["ENOSPC", "write"], what);
        });
      }
    }));
}

testWithLinks(
  "atomicWrite() reports the step when it refuses a circular link",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.symlinkSync("file", file);
      for (const [what, write] of ways.slice(0, 4)) {
        const error = await failureOf(() => write(file));
        assertEquals(error.code, "ELOOP", what);
        assert(error.step !== "lstat", what);
      }
    }),
);

test("isAtomicWriteError() recognizes write errors by their properties", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "no", "file");
    const error = await assertRejects(() => atomicWrite(file, "x"));
    assert(isAtomicWriteError(error));
    const { code, step, target, replaced }: AtomicWriteError = error;
    assertEquals([code, step, target, replaced], ["ENOENT", "open", file, false]);
    assert(isAtomicWriteError(assertThrows(() => atomicWriteSync(file, "x"))));
  }));

test("isAtomicWriteError() is false for other values", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const reason = new Error("mine");
    const source = (async function* () {
      yield "half";
      throw Object.assign(new Error("theirs"), { code: "EIO" });
    })();
    const others: unknown[] = [
      undefined,
      null,
      1,
      "ENOENT",
      {},
      new Error("plain"),
      assertThrows(() => fs.readFileSync(file)),
      { code: "EIO" },
      { name: "Error", message: "", step: 1, target: 2, replaced: 3, code: 4 },
      await assertRejects(() => atomicWrite(file, "x", { signal: AbortSignal.abort(reason) })),
      await assertRejects(() => atomicWrite(file, source)),
      // @ts-expect-error A number is not valid data.
      await assertRejects(() => atomicWrite(file, 1)),
    ];
    for (const other of others) assertEquals(isAtomicWriteError(other), false, String(other));
  }));

/** The advice that the error message of a failed call must contain. */
const hints: [call: string, code: string, options: AtomicWriteOptions, hint: string][] = [
  ["create", "ENOENT", {}, "pass 'parents: true' to create it"],
  ["create", "EACCES", {}, "must be writable, not just the file"],
  ["rename", "EACCES", {}, "must be writable, not just the file"],
  ["create", "EPERM", {}, "'chattr -i'"],
  ["rename", "EPERM", {}, "may be sticky"],
  ["rename", "EBUSY", {}, "pass 'fallback: \"in-place\"'"],
  [
    "link",
    "EPERM",
    { createNew: true },
    "does not support hard links, which are required by 'createNew'",
  ],
  ["create", "ERR_ACCESS_DENIED", {}, "Grant access to the directory"],
];
for (const [call, code, options, hint] of hints) {
  test(
    `atomicWrite() says what to do when ${call} fails with ${code}`,
    () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        await intercepted(({ name }) => {
          if (name === call) throw systemError(code);
        }, async () => {
          for (const [what, write] of ways.slice(0, 4)) {
            const { message } = await failureOf(() => write(file, options));
            assert(message.includes(hint), `${what}: ${message}`);
            assert(message.startsWith(`Cannot write '${file}': `), `${what}: ${message}`);
          }
        });
      }),
    { skip: isWindows && "the causes differ on Windows" },
  );
}

test(
  "atomicWrite() gives no wrong advice when syncing the directory is forbidden",
  () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await intercepted(({ name }) => {
        if (name === "directory.sync") throw systemError("ERR_ACCESS_DENIED");
      }, async () => {
        const error = await failureOf(() => atomicWrite(file, "x", { durability: "durable" }));
        assertEquals([error.code, error.replaced], ["ERR_ACCESS_DENIED", true]);
        assert(!error.message.includes("Grant access"), error.message);
      });
    }),
  { skip: isWindows && "Windows does not sync directories" },
);

test("atomicWrite() with createNew rejects with ENOTSUP where there are no hard links", () =>
  inTempDir(async (dir) => {
    // On Linux, link(2) fails like this on exFAT and FAT.
    await intercepted(({ name }) => {
      if (name === "link") throw systemError("EPERM");
    }, async () => {
      const error = await failureOf(() =>
        atomicWrite(path.join(dir, "f"), "", { createNew: true })
      );
      assertEquals([error.code, error.step, list(dir)], ["ENOTSUP", "link", []]);
    });
  }));

test("atomicWriteSync() throws an error whose stack shows the line of the call", () =>
  inTempDir((dir) => {
    // The call is in a block, because Bun drops the stack frame of a tail call.
    const error = assertThrows(() => {
      atomicWriteSync(path.join(dir, "no", "file"), "x");
    }, Error);
    assert(error.stack!.split("\n")[1]!.includes("errors_test"), error.stack);
  }));
