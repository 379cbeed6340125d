/** The programs in examples/, which are written for Deno. */
import { assert, assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Child } from "../support/child.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { isDeno, isDeno27, isWindows, test } from "../support/test.ts";

const onDeno = { skip: !isDeno && "the examples run only on Deno" };
const more: string[] = JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]");
const file = (name: string) => fileURLToPath(new URL(`../../examples/${name}.ts`, import.meta.url));
const program = (name: string) => ["run", "-A", "--quiet", ...more, file(name)];

function run(name: string, ...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...program(name), ...args]);
  return { code: status, out: String(stdout), err: String(stderr) };
}

test("examples/shared_settings.ts loses no changes", () => {
  const { code, out, err } = run("shared_settings");
  assertEquals(code, 0, err);
  // Either of the two processes may finish first.
  assertEquals(JSON.parse(out), { changes: { editor: 50, service: 50 } });
}, onDeno);

test("examples/keyed_cache.ts computes each entry once", () =>
  inTempDir((dir) => {
    const first = run("keyed_cache", dir);
    assertEquals([first.code, first.out], [0, "30 answers, 3 computed\n"], first.err);
    assertEquals(run("keyed_cache", dir).out, "30 answers, 0 computed\n");
    assertEquals(list(dir).filter((name) => name.endsWith(".json")).length, 3);
  }), onDeno);

test("examples/job_queue.ts does each job once", () => {
  const { code, out, err } = run("job_queue");
  assertEquals([code, out], [0, "20 jobs done, 20 of them once\n"], err);
}, onDeno);

test(
  "examples/single_instance.ts runs only once, until it is killed",
  () =>
    inTempDir(async (dir) => {
      const one = () =>
        new Child("", [], { worker: [process.execPath, ...program("single_instance"), dir] });
      const first = one();
      assert((await first.line()).includes("is the only instance"));
      const second = run("single_instance", dir);
      assertEquals([second.code, second.out], [1, ""]);
      const who = process.platform === "linux" ? `: process ${first.process.pid}` : "";
      assert(second.err.startsWith(`Already running${who}`), second.err);
      await first.kill();
      const third = one();
      assert((await third.line()).includes("is the only instance"));
      third.tell();
      assertEquals(await third.exit(), 0);
    }),
  onDeno,
);

test(
  "examples/whole_download.ts keeps the old file unless the download is complete",
  () =>
    inTempDir(async (dir) => {
      const target = path.join(dir, "file");
      const server = createServer((request, response) => {
        if (request.url === "/missing") return void response.writeHead(404).end("no such thing");
        response.writeHead(200, { "content-length": "200000" });
        if (request.url === "/whole") return void response.end("x".repeat(200_000));
        response.write("x".repeat(100_000), () => response.destroy());
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as AddressInfo;
      try {
        const download = async (name: string) => {
          const child = new Child("", [], {
            worker: [
              process.execPath,
              ...program("whole_download"),
              `http://127.0.0.1:${port}${name}`,
              target,
            ],
            shell: "exec 2>/dev/null",
          });
          return await child.exit();
        };
        assertEquals([await download("/half"), list(dir)], [1, []]);
        assertEquals([await download("/whole"), fs.statSync(target).size], [0, 200_000]);
        fs.writeFileSync(target, "old");
        assertEquals([await download("/half"), await download("/missing")], [1, 1]);
        assertEquals([text(target), list(dir)], ["old", ["file"]]);
      } finally {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    }),
  {
    skip: onDeno.skip || (isWindows && "requires a Unix shell") ||
      (isDeno27 && "destroy() of its node:http leaves the connection open"),
  },
);
