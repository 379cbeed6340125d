import { assertEquals, assertRejects } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { inTempDir } from "../support/dir.ts";
import { onPlatform } from "../support/fake.ts";
import { forms } from "../support/json_forms.ts";
import { intercepted, systemError } from "../support/runtime.ts";
import { isDeno, isWindows, test } from "../support/test.ts";
import { runtime } from "../../runtime/mod.ts";

/** Returns an ESTALE error as the runtime reports it on Linux. */
function stale(): Error {
  if (!isDeno || process.platform !== "linux") return systemError("ESTALE");
  const message = "Stale file handle (os error 116)";
  return Object.assign(new Error(message), { code: "UNKNOWN" });
}

for (const { read, readName } of forms) {
  test(`${readName} rereads the file when another machine replaces it on NFS`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "1");
      let failures = 0;
      await intercepted(({ name }) => {
        if (name === "readFile" && failures < 3 && ++failures > 0) throw stale();
      }, async () => assertEquals([await read(file), failures], [1, 3]));
    }));

  test(`${readName} fails with ESTALE when the file stays stale`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      fs.writeFileSync(file, "1");
      await intercepted(({ name }) => {
        if (name === "readFile") throw stale();
      }, async () => {
        const error = await assertRejects(() => read(file), Error, `Cannot read '${file}'`);
        assertEquals((error as Error & { code?: string }).code, "ESTALE");
      });
    }));

  test(`${readName} retries when the file is missing because an NFS client is replacing it`, () =>
    inTempDir(async (dir) => {
      const file = path.join(dir, "file");
      let looks = 0;
      const mayReappear = (where: string, name: string) => {
        assertEquals([where, name], [dir, "file"]);
        if (++looks === 3) fs.writeFileSync(file, "1");
        return true;
      };
      await onPlatform(() => ({ mayReappear }), async () => {
        assertEquals([await read(file), looks], [1, 3]);
        fs.unlinkSync(file);
        looks = 3;
        assertEquals(await read(file), undefined);
      });
    }));
}

test(
  "runtime.mayReappear() is true when the name exists again",
  () => {
    // The directory contains no `.nfs…` file, as is the case once a client has closed the replaced
    // file.
    const dir = fs.mkdtempSync("/dev/shm/aperture-");
    try {
      fs.writeFileSync(path.join(dir, "file"), "");
      assertEquals(runtime.mayReappear(dir, "file"), true);
    } finally {
      fs.rmSync(dir, { recursive: true });
    }
  },
  { skip: (isWindows || !fs.existsSync("/dev/shm")) && "there is no /dev/shm" },
);

test(
  "runtime.mayReappear() is true when an NFS directory contains a .nfs file",
  () => {
    // tmpfs stands in for NFS, because both have a major device number of 0.
    const dir = fs.mkdtempSync("/dev/shm/aperture-");
    try {
      assertEquals(runtime.mayReappear(dir, "file"), false);
      fs.writeFileSync(path.join(dir, ".nfs0000000000000001"), "");
      assertEquals(runtime.mayReappear(dir, "file"), true);
      assertEquals(runtime.mayReappear(path.join(dir, "missing"), "file"), false);
    } finally {
      fs.rmSync(dir, { recursive: true });
    }
  },
  { skip: (isWindows || !fs.existsSync("/dev/shm")) && "there is no /dev/shm" },
);
