/**
 * Cases for test runners that run the library in a separate realm, where `instanceof` does not
 * recognize errors, buffers or signals, and some globals are missing. Each case is the body of a
 * function with the parameters `lib`, `fs`, `os`, `stream`, `equal` and `dir`. `dir` is an empty
 * directory.
 */
export const CASES: Readonly<Record<string, string>> = {
  "a new file": `
    await lib.atomicWrite(dir + "/new", "a");
    lib.atomicWriteSync(dir + "/newSync", "b");
    equal([fs.readFileSync(dir + "/new", "utf8"), fs.readFileSync(dir + "/newSync", "utf8")], ["a", "b"]);`,
  "a file that is replaced, and its mode": `
    fs.writeFileSync(dir + "/file", "old", { mode: 0o640 });
    await lib.atomicWrite(dir + "/file", "new");
    equal([fs.readFileSync(dir + "/file", "utf8"), fs.statSync(dir + "/file").mode & 0o777], ["new", 0o640]);`,
  "bytes, a Blob and streams of this realm": `
    const bytes = new Uint8Array([97, 98, 99]);
    const data = [bytes, bytes.buffer, stream.Readable.from([Buffer.from(bytes)])];
    if (typeof ReadableStream !== "undefined") {
      data.push(new ReadableStream({ start(c) { c.enqueue(bytes); c.close(); } }));
    }
    // jsdom's Blob cannot be read, and Jest 27 has no Blob.
    if (globalThis.Blob?.prototype.stream !== undefined) data.push(new Blob([bytes]));
    for (const [i, of] of data.entries()) await lib.atomicWrite(dir + "/" + i, of);
    equal(data.map((_, i) => fs.readFileSync(dir + "/" + i, "utf8")), data.map(() => "abc"));`,
  "an AtomicFile": `
    const file = await lib.AtomicFile.open(dir + "/file");
    await file.write("ab");
    await file.commit();
    const other = await lib.AtomicFile.open(dir + "/file");
    await other.write("never");
    await other.discard();
    equal([fs.readFileSync(dir + "/file", "utf8"), fs.readdirSync(dir)], ["ab", ["file"]]);`,
  "createNew, refused with EEXIST": `
    await lib.atomicWrite(dir + "/file", "a", { createNew: true });
    const error = await lib.atomicWrite(dir + "/file", "b", { createNew: true }).catch((e) => e);
    equal([error.code, error.path ?? error.target, fs.readFileSync(dir + "/file", "utf8")], ["EEXIST", dir + "/file", "a"]);`,
  "a directory that is missing": `
    const error = await lib.atomicWrite(dir + "/none/file", "a").catch((e) => e);
    equal(error.code, "ENOENT");`,
  "a signal": `
    const controller = new AbortController();
    controller.abort(new Error("enough"));
    const { signal } = controller;
    const error = await lib.atomicWrite(dir + "/file", "a", { signal }).catch((e) => e);
    // jsdom 16, which Jest 27 uses, does not support abort reasons.
    equal([error === signal.reason, fs.readdirSync(dir)], [true, []]);`,
  "locks": `
    const lock = await lib.DirLock.acquire(dir);
    equal(await lib.DirLock.tryAcquire(dir), null);
    const waiting = lib.DirLock.acquire(dir);
    lock.release();
    (await waiting).release();
    lib.DirLock.acquireSync(dir).release();
    equal(await lib.withDirLock(dir, () => 1), 1);`,
  "a lock that is not free in time": `
    const lock = await lib.DirLock.acquire(dir);
    const error = await lib.DirLock.acquire(dir, { timeout: 1 }).catch((e) => e);
    lock.release();
    equal([error instanceof lib.LockTimeoutError, error.name], [true, "LockTimeoutError"]);`,
  "updates that lose none": `
    const add = (bytes) => String(bytes === null ? 1 : Number(Buffer.from(bytes)) + 1);
    await Promise.all(Array.from({ length: 20 }, () => lib.atomicUpdate(dir + "/count", add)));
    equal(fs.readFileSync(dir + "/count", "utf8"), "20");`,
  "a stream through \`writable\`": `
    const file = await lib.AtomicFile.open(dir + "/file");
    const writer = file.writable.getWriter();
    await writer.write(new Uint8Array([97]));
    await writer.close();
    await file.commit();
    equal(fs.readFileSync(dir + "/file", "utf8"), "a");`,
  "wrong options": `
    const names = [];
    for (const options of [{ durability: "fsync" }, { mode: -1 }, { nothing: 1 }, 1]) {
      names.push(await lib.atomicWrite(dir + "/file", "a", options).catch((e) => e.name));
    }
    equal(names.filter((name) => !/^(Type|Range)Error$/.test(name)), []);`,
};

/**
 * Returns the source of a test file with these cases, for runners that provide `test` and `expect`
 * as globals.
 */
export function testFile(kind: "esm" | "cjs", specifier: string): string {
  const imports = [["fs", "node:fs"], ["os", "node:os"], ["stream", "node:stream"], [
    "lib",
    specifier,
  ]].map(([name, from]) =>
    kind === "esm" ? `import * as ${name} from "${from}";` : `const ${name} = require("${from}");`
  );
  const cases = Object.entries(CASES).map(([name, body]) =>
    `test(${JSON.stringify(name)}, async () => {
  const dir = fs.realpathSync(fs.mkdtempSync(os.tmpdir() + "/realm-"));
  try {${body}
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});`
  );
  const equal = "const equal = (actual, expected) => expect(actual).toEqual(expected);";
  return [...imports, equal, ...cases, ""].join("\n");
}
