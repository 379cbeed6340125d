import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import * as childProcess from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import {
  type AtomicDataSync,
  atomicWrite,
  type AtomicWriteOptions,
  atomicWriteSync,
  type AtomicWriteSyncOptions,
  isTempName,
} from "../../mod.ts";
import { content, numberOf } from "../support/content.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { intercepted, recorded, systemError } from "../support/runtime.ts";
import { isDeno, isRoot, isWindows, test, testWithLinks } from "../support/test.ts";

const DURABILITIES = ["none", "consistent", "durable"] as const;

type Write = (
  path: string | URL,
  data: AtomicDataSync,
  options?: AtomicWriteSyncOptions,
) => Promise<void>;

/** Both forms of a write, which must behave alike. */
const FORMS: { form: string; write: Write }[] = [
  { form: "atomicWrite", write: atomicWrite },
  {
    form: "atomicWriteSync",
    write: (...args) => Promise.resolve().then(() => atomicWriteSync(...args)),
  },
];

function modeOf(file: string): number {
  return fs.statSync(file).mode & 0o7777;
}

/** Gets or sets the umask. Before Deno 2.9, node:process cannot set the umask. */
function umask(mask?: number): number {
  return isDeno ? Deno.umask(mask) : mask === undefined ? process.umask() : process.umask(mask);
}

async function withUmask<T>(mask: number, fn: () => Promise<T>): Promise<T> {
  const before = umask(mask);
  try {
    return await fn();
  } finally {
    umask(before);
  }
}

for (const { form, write } of FORMS) {
  for (const durability of DURABILITIES) {
    test(`${form}() replaces a file with durability "${durability}"`, () =>
      inTempDir(async (dir) => {
        const file = path.join(dir, "file");
        for (const number of [1, 2]) {
          await write(file, content(number, 100_000), { durability });
          assertEquals(numberOf(fs.readFileSync(file)), number);
        }
        assertEquals(list(dir), ["file"]);
      }));

    test(`${form}() writes an empty file with durability "${durability}"`, () =>
      inTempDir(async (dir) => {
        await write(path.join(dir, "file"), "", { durability });
        assertEquals(text(path.join(dir, "file")), "");
      }));

    test(
      `${form}() keeps the mode of the file that it replaces with durability "${durability}"`,
      () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, "file");
          for (const mode of [0o600, 0o644, 0o666, 0o755, 0o444]) {
            fs.writeFileSync(file, "old");
            fs.chmodSync(file, mode);
            await write(file, "new", { durability });
            assertEquals([text(file), modeOf(file)], ["new", mode]);
            fs.rmSync(file);
          }
        }),
      { skip: isWindows && "Windows has no permission bits" },
    );

    test(
      `${form}() sets an explicit mode regardless of the umask with durability "${durability}"`,
      () =>
        inTempDir((dir) =>
          withUmask(0o077, async () => {
            const file = path.join(dir, "file");
            for (const mode of [0o666, 0o600, 0o000, 0o4755]) {
              await write(file, "x", { durability, mode });
              assertEquals(modeOf(file), mode);
            }
          })
        ),
      { skip: isWindows && "Windows has no permission bits" },
    );

    test(
      `${form}() creates a file with the mode 0o666 minus the umask with durability "${durability}"`,
      () =>
        inTempDir((dir) =>
          withUmask(0o027, async () => {
            await write(path.join(dir, "file"), "x", { durability });
            assertEquals(modeOf(path.join(dir, "file")), 0o640);
          })
        ),
      { skip: isWindows && "Windows has no permission bits" },
    );

    test(
      `${form}() keeps the owner and group with durability "${durability}"`,
      () =>
        inTempDir(async (dir) => {
          const file = path.join(dir, "file");
          fs.writeFileSync(file, "old");
          fs.chownSync(file, 1234, 4321);
          fs.chmodSync(file, 0o6750);
          await write(file, "new", { durability });
          const { uid, gid } = fs.statSync(file);
          assertEquals([uid, gid, modeOf(file)], [1234, 4321, 0o6750]);
        }),
      { skip: !isRoot && "only root can change owners" },
    );
  }

  test(`${form}() accepts a file: URL`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "a b%c");
      await write(pathToFileURL(file), "x");
      assertEquals(text(file), "x");
    }));

  test(`${form}() writes the bytes of an ArrayBuffer and of any view`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      const buffer = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8).buffer;
      const shared = new Uint8Array(new SharedArrayBuffer(2));
      shared.set([9, 8]);
      for (
        const [data, bytes] of [
          [buffer, [1, 2, 3, 4, 5, 6, 7, 8]],
          [new Uint16Array(buffer, 2, 2), [3, 4, 5, 6]],
          [new DataView(buffer, 7), [8]],
          [shared, [9, 8]],
        ] as const
      ) {
        await write(file, data);
        assertEquals([...fs.readFileSync(file)], [...bytes]);
      }
    }));

  test(`${form}() writes a string as UTF-8`, () =>
    inTempDir(async (dir) => {
      await write(path.join(dir, "file"), "grün €");
      assertEquals(text(path.join(dir, "file")), "grün €");
    }));

  testWithLinks(
    `${form}() follows a symbolic link to a file elsewhere`,
    () =>
      inTempDir(async (dir) => {
        fs.mkdirSync(path.join(dir, "real"));
        fs.mkdirSync(path.join(dir, "links"));
        fs.writeFileSync(path.join(dir, "real", "file"), "old");
        fs.symlinkSync("../real/file", path.join(dir, "links", "one"));
        fs.symlinkSync("one", path.join(dir, "links", "two"));
        await write(path.join(dir, "links", "two"), "new");
        assertEquals(text(path.join(dir, "real", "file")), "new");
        assertEquals(fs.readlinkSync(path.join(dir, "links", "two")), "one");
        assertEquals([list(path.join(dir, "real")), list(path.join(dir, "links"))], [
          ["file"],
          ["one", "two"],
        ]);
      }),
  );

  testWithLinks(
    `${form}() follows a relative link in a directory reached through a link`,
    () =>
      inTempDir(async (dir) => {
        fs.mkdirSync(path.join(dir, "a", "b"), { recursive: true });
        fs.symlinkSync(path.join(dir, "a", "b"), path.join(dir, "short"));
        fs.symlinkSync("../file", path.join(dir, "a", "b", "link"));
        await write(path.join(dir, "short", "link"), "x");
        assertEquals(text(path.join(dir, "a", "file")), "x");
      }),
  );

  testWithLinks(`${form}() creates the target of a dangling link`, () =>
    inTempDir(async (dir) => {
      fs.symlinkSync("target", path.join(dir, "link"));
      await write(path.join(dir, "link"), "x");
      assertEquals(text(path.join(dir, "target")), "x");
      assert(fs.lstatSync(path.join(dir, "link")).isSymbolicLink());
    }));

  testWithLinks(
    `${form}() replaces a link when symlinks is "replace"`,
    () =>
      inTempDir(async (dir) => {
        fs.writeFileSync(path.join(dir, "target"), "old");
        fs.symlinkSync("target", path.join(dir, "link"));
        await write(path.join(dir, "link"), "new", { symlinks: "replace" });
        assert(fs.lstatSync(path.join(dir, "link")).isFile());
        assertEquals([text(path.join(dir, "link")), text(path.join(dir, "target"))], [
          "new",
          "old",
        ]);
        if (!isWindows) assertEquals(modeOf(path.join(dir, "link")), 0o666 & ~umask());
      }),
  );

  const refusals: [string, string, string, (file: string) => void][] = [
    ["a loop of links", "ELOOP", "FilesystemLoop", (file) => fs.symlinkSync("target", file)],
    ["a directory", "EISDIR", "IsADirectory", (file) => fs.mkdirSync(file)],
    ["a FIFO", "ENOTSUP", "NotSupported", (file) => makeNode(file, "p")],
    ["a device", "ENOTSUP", "NotSupported", (file) => makeNode(file, "c", "1", "3")],
    ["a missing directory", "ENOENT", "NotFound", (file) => fs.rmdirSync(path.dirname(file))],
    ["a file in place of a directory", "ENOTDIR", "NotADirectory", (file) => {
      fs.rmdirSync(path.dirname(file));
      fs.writeFileSync(path.dirname(file), "");
    }],
  ];
  for (const [what, code, name, make] of refusals) {
    for (const mode of [undefined, 0o600]) {
      const skip = (isWindows && "Windows has no such files") ||
        (what === "a device" && !isRoot && "only root can create a device");
      test(
        `${form}() refuses ${what} with ${code}${
          mode === undefined ? "" : " with an explicit mode"
        }`,
        () =>
          inTempDir(async (dir) => {
            const file = path.join(dir, "sub", "target");
            fs.mkdirSync(path.join(dir, "sub"));
            make(file);
            const before = snapshot(dir);
            const options = mode === undefined ? {} : { mode };
            const error = await assertRejects(() => write(file, "x", options), Error);
            const facts = error as Error & Record<string, unknown>;
            assertEquals([facts.code, facts.target, facts.replaced], [code, file, false]);
            if (error.constructor.name !== "Error") assertEquals(error.constructor.name, name);
            assert(error.message.includes(`'${file}'`), error.message);
            assertEquals(snapshot(dir), before);
          }),
        { skip },
      );
    }
  }

  test(`${form}() refuses a path that ends with a separator`, () =>
    inTempDir(async (dir) => {
      await assertRejects(() => write(`${dir}/file/`, "x"), Error, "Is a directory");
      assertEquals(list(dir), []);
    }));

  test(`${form}() creates a file with createNew`, () =>
    inTempDir(async (dir) => {
      await write(path.join(dir, "file"), "x", { createNew: true, durability: "durable" });
      assertEquals([list(dir), text(path.join(dir, "file"))], [["file"], "x"]);
      assertEquals(fs.statSync(path.join(dir, "file")).nlink, 1);
    }));

  testWithLinks(
    `${form}() throws EEXIST with createNew when the path exists`,
    () =>
      inTempDir(async (dir) => {
        fs.writeFileSync(path.join(dir, "file"), "old");
        fs.symlinkSync("nothing", path.join(dir, "link"));
        fs.mkdirSync(path.join(dir, "dir"));
        const before = snapshot(dir);
        for (const name of ["file", "link", "dir"]) {
          for (const mode of [undefined, 0o600]) {
            const options = { createNew: true, ...mode && { mode } };
            const error = await assertRejects(
              () => write(path.join(dir, name), "x", options),
              Error,
            );
            assertEquals((error as Error & { code?: string }).code, "EEXIST");
          }
        }
        assertEquals(snapshot(dir), before);
      }),
  );

  test(`${form}() with createNew does not replace a file that is created just before link(2)`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      await intercepted(({ name }) => {
        if (name === "link") fs.writeFileSync(file, "theirs");
      }, async () => {
        const error = await assertRejects(() => write(file, "mine", { createNew: true }), Error);
        assertEquals((error as Error & { code?: string }).code, "EEXIST");
      });
      assertEquals([list(dir), text(file)], [["file"], "theirs"]);
    }));

  test(`${form}() replaces a file with a name of 255 bytes`, () =>
    inTempDir(async (dir) => {
      for (const name of ["n".repeat(255), "ü".repeat(127), "𝄞".repeat(63), "€".repeat(85)]) {
        const calls = await recorded(() => write(path.join(dir, name), "x"));
        const temp = path.basename(calls.find(({ name }) => name === "create")!.args[0] as string);
        assert(isTempName(temp), temp);
        assert(new TextEncoder().encode(temp).byteLength <= 255, temp);
        assert(name.startsWith(temp.slice(1, -21)) && !temp.includes("\uFFFD"), temp);
        assertEquals(list(dir), [name]);
        fs.rmSync(path.join(dir, name));
      }
    }));

  test(
    `${form}() throws ENAMETOOLONG and leaves no file`,
    () =>
      inTempDir(async (dir) => {
        for (const options of [{}, { mode: 0o600 }, { createNew: true }]) {
          const error = await assertRejects(
            () => write(path.join(dir, "n".repeat(256)), "x", options),
            Error,
          );
          assertEquals((error as Error & { code?: string }).code, "ENAMETOOLONG");
        }
        assertEquals(list(dir), []);
      }),
    { skip: isWindows && "error codes differ on Windows" },
  );

  testWithLinks(
    `${form}() does not write through a link that was planted at the temporary name`,
    () =>
      inTempDir(async (dir) => {
        fs.writeFileSync(path.join(dir, "victim"), "precious");
        let planted = "";
        await intercepted(({ name, args }) => {
          if (name !== "create" || planted !== "") return;
          planted = args[0] as string;
          fs.symlinkSync("victim", planted);
        }, () => write(path.join(dir, "file"), "x"));
        assertEquals([text(path.join(dir, "victim")), text(path.join(dir, "file"))], [
          "precious",
          "x",
        ]);
        assertEquals(list(dir), [path.basename(planted), "file", "victim"]);
      }),
  );

  test(
    `${form}() creates a temporary file with a mode no wider than the target's`,
    () =>
      inTempDir((dir) =>
        withUmask(0, async () => {
          const file = path.join(dir, "secret");
          for (const options of [{}, { mode: 0o600 }] as AtomicWriteSyncOptions[]) {
            for (const durability of DURABILITIES) {
              fs.writeFileSync(file, "old", { mode: 0o600 });
              const calls = await recorded(() => write(file, "new", { ...options, durability }));
              const create = calls.find(({ name }) => name === "create")!;
              assertEquals(create.args.at(-1), 0o600);
            }
          }
        })
      ),
    { skip: isWindows && "Windows has no permission bits" },
  );

  test(
    `${form}() resolves .. after a link as the kernel does`,
    () =>
      inTempDir(async (dir) => {
        fs.mkdirSync(path.join(dir, "a", "b"), { recursive: true });
        fs.symlinkSync(path.join(dir, "a", "b"), path.join(dir, "short"));
        await write(`${dir}/short/../file`, "x");
        assertEquals(list(path.join(dir, "a")), ["b", "file"]);
      }),
    { skip: isWindows && "Windows resolves .. before it follows links" },
  );
}

test("atomicWrite() resolves a relative path when it is called", () =>
  inTempDir(async (dir) => {
    fs.mkdirSync(path.join(dir, "elsewhere"));
    const before = process.cwd();
    process.chdir(dir);
    try {
      const written = atomicWrite("file", "x");
      process.chdir(path.join(dir, "elsewhere"));
      await written;
    } finally {
      process.chdir(before);
    }
    assertEquals(list(dir), ["elsewhere", "file"]);
  }));

test("atomicWrite() lets the last call for a path win", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (let round = 0; round < 20; round++) {
      const sizes = [300_000, 10, 100_000, 1, 30_000];
      await Promise.all(sizes.map((size, i) => atomicWrite(file, content(i, size))));
      assertEquals(numberOf(fs.readFileSync(file)), sizes.length - 1);
    }
    assertEquals(list(dir), ["file"]);
  }));

test("atomicWrite() does not wait for an earlier call whose source stalls", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    let finish!: () => void;
    const stalled = new Promise<void>((resolve) => finish = resolve);
    const first = atomicWrite(
      file,
      (async function* () {
        yield "fir";
        await stalled;
        yield "st";
      })(),
    );
    await atomicWrite(file, "second");
    assertEquals(text(file), "second");
    finish();
    await first;
    assertEquals([text(file), list(dir)], ["first", ["file"]]);
  }));

test("atomicWriteSync() takes effect after an earlier atomicWrite()", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const first = atomicWrite(file, content(1, 1_000_000));
    atomicWriteSync(file, "second");
    await first;
    assertEquals([text(file), list(dir)], ["second", ["file"]]);
  }));

test("atomicWrite() completes the other calls for a path when one call fails", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    let fail = true;
    await intercepted(({ name }) => {
      if (name === "rename" && fail) {
        fail = false;
        throw systemError("EIO");
      }
    }, async () => {
      const results = await Promise.allSettled(
        [1, 2, 3].map((i) => atomicWrite(file, content(i, 10))),
      );
      const landed = [1, 2, 3].filter((i) => results[i - 1]!.status === "fulfilled");
      assertEquals(landed.length, 2);
      assertEquals(numberOf(fs.readFileSync(file)), landed.at(-1));
    });
    assertEquals(list(dir), ["file"]);
  }));

test("atomicWrite() awaits disk access but makes lookups synchronously", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    const known = ["lstat", "stat", "readLink", "file.stat"];
    const awaited = async (options: AtomicWriteOptions) =>
      (await recorded(() => atomicWrite(file, "x", options)))
        .filter(({ form, name }) => form === "async" && !known.includes(name))
        .map(({ name }) => name);
    const expected = ["create", "file.write", "file.close", "rename"];
    for (const _ of ["absent", "present"]) {
      assertEquals(await awaited({ durability: "none" }), expected);
      assertEquals(await awaited({ durability: "none", mode: 0o644 }), expected);
    }
  }));

test("atomicWrite() waits for a free file descriptor", () =>
  inTempDir(async (dir) => {
    const file = path.join(dir, "file");
    for (const code of ["EMFILE", "ENFILE"]) {
      let failures = 3;
      await intercepted(({ name }) => {
        if (name === "create" && failures-- > 0) throw systemError(code);
      }, () => atomicWrite(file, code));
      assertEquals([text(file), failures], [code, -1]);
    }
  }));

test("atomicWrite() retries a rename on Windows only", () =>
  inTempDir(async (dir) => {
    const { runtime, useRuntime } = await import("../../runtime/mod.ts");
    for (const code of ["EPERM", "EACCES", "EBUSY"]) {
      for (const windows of [true, false]) {
        let failures = 3;
        useRuntime({ ...runtime, windows });
        const error = await intercepted(({ name }) => {
          if (name === "rename" && failures-- > 0) throw systemError(code);
        }, () => atomicWrite(path.join(dir, "file"), "x")).then(() => undefined, (error) => error)
          .finally(() => useRuntime(runtime));
        assertEquals(error?.code, windows ? undefined : code);
      }
    }
  }));

test("atomicWriteSync() throws a TypeError for a Blob", () =>
  inTempDir((dir) => {
    const error = assertThrows(
      // @ts-expect-error Only atomicWrite() accepts a Blob.
      () => atomicWriteSync(path.join(dir, "file"), new Blob(["x"])),
    );
    assertInstanceOf(error, TypeError);
    assertEquals(list(dir), []);
  }));

/** Returns the path, mode and content (of files) of each entry under a directory. */
function snapshot(dir: string): string[] {
  return fs.readdirSync(dir).sort().flatMap((name) => {
    const file = path.join(dir, name);
    const info = fs.lstatSync(file);
    if (info.isDirectory()) return [`${file} ${info.mode}`, ...snapshot(file)];
    return [`${file} ${info.mode} ${info.isFile() ? text(file) : ""}`];
  });
}

function makeNode(file: string, ...args: string[]): void {
  const { status, stderr } = childProcess.spawnSync("mknod", [file, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}
