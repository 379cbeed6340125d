import { assert, assertEquals } from "@std/assert";
import { once } from "node:events";
import * as fs from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import process from "node:process";
import { HELP } from "../../internal/cli/help.ts";
import { VERSION } from "../../internal/cli/version.ts";
import { inTempDir, list, text } from "../support/dir.ts";
import { isDeno, test } from "../support/test.ts";
import { cli, command, onUnix, Run, run, runInShell } from "./command.ts";

test("aperture-atomic --help fits 80 columns and names every option", () => {
  assertEquals(HELP.split("\n").filter((line) => line.length > 80), []);
  const options = [
    ["shared", "exclusive", "nonblock", "try", "timeout", "wait", "conflict-code"],
    ["conflict-exit-code", "lock-file", "parents", "verbose"],
    ["mode", "durability", "create-new", "older-than", "recursive"],
  ];
  for (const option of options.flat()) assert(HELP.includes(`--${option}`), option);
});

test("aperture-atomic --help and --version print and exit with 0", () =>
  inTempDir(async (dir) => {
    const ends = await Promise.all([
      run(dir, ["--help"]),
      run(dir, ["lock", "--help"]),
      run(dir, ["--version"]),
    ]);
    const outputs = [HELP, HELP, `${VERSION}\n`];
    assertEquals(ends, outputs.map((out) => ({ code: 0, out, err: "" })));
  }));

test("aperture-atomic --version prints the version in deno.json", () => {
  let dir = path.dirname(cli);
  while (!fs.existsSync(path.join(dir, "deno.json"))) {
    if (dir === path.dirname(dir)) throw new Error("Cannot find deno.json");
    dir = path.dirname(dir);
  }
  assertEquals(JSON.parse(text(path.join(dir, "deno.json"))).version, VERSION);
});

test("aperture-atomic exits with 64 and points to --help when the arguments are invalid", () =>
  inTempDir(async (dir) => {
    const ends = await Promise.all([
      run(dir, ["lock", "--bad", "d", "c"]),
      run(dir, ["frob"]),
      run(dir, []),
    ]);
    const messages = [
      "Unknown option '--bad'",
      "Unknown command 'frob': use lock, write, sweep or holders",
      "Missing command: use lock, write, sweep or holders",
    ];
    assertEquals(
      ends,
      messages.map((message) => ({
        code: 64,
        out: "",
        err: `aperture-atomic: ${message}\naperture-atomic: See 'aperture-atomic --help'\n`,
      })),
    );
    assertEquals(list(dir), []);
  }));

test("aperture-atomic exits with 74 when it cannot print", () =>
  inTempDir(async (dir) => {
    const { code, err } = await runInShell(dir, '"$@" > /dev/full', "--help");
    assertEquals([code, /no space left/i.test(err)], [74, true]);
  }), { skip: process.platform !== "linux" && "requires /dev/full" });

test(
  "aperture-atomic exits silently when the process that reads its output has exited",
  () =>
    inTempDir(async (dir) => {
      const { err } = await runInShell(dir, '"$@" | true', "--help");
      assertEquals(err, "");
    }),
  onUnix,
);

test(
  "aperture-atomic runs through the symbolic link that npm creates",
  () =>
    inTempDir(async (dir) => {
      const link = path.join(dir, "aperture-atomic");
      fs.symlinkSync(cli, link);
      const { code, out } = await new Run([...command(link), "--version"], dir).end();
      assertEquals([code, out], [0, `${VERSION}\n`]);
    }),
  { skip: isDeno ? "Deno creates a script instead" : onUnix.skip! },
);

test(
  "aperture-atomic runs when its path omits the file extension",
  () =>
    inTempDir(async (dir) => {
      const program = command(cli.replace(/\.js$/, ""));
      const { code, out } = await new Run([...program, "--version"], dir).end();
      assertEquals([code, out], [0, `${VERSION}\n`]);
    }),
  { skip: isDeno && "Deno requires the file extension" },
);

for (const name of ["cli", "aperture-atomic"]) {
  test(
    `aperture-atomic runs from a URL that ends in "/${name}", as JSR's and npm's links do`,
    () =>
      inTempDir(async (dir) => {
        const root = path.dirname(cli);
        const server = createServer(({ url }, response) => {
          const file = path.join(root, url === `/${name}` ? "cli.ts" : url!);
          response.writeHead(200, { "content-type": "application/typescript" });
          response.end(fs.readFileSync(file));
        });
        await once(server.listen(0, "127.0.0.1"), "listening");
        try {
          const { port } = server.address() as AddressInfo;
          const [deno, run, ...more] = command(`http://127.0.0.1:${port}/${name}`);
          // Deno does not look for a configuration file when it runs a program from a URL.
          const args = ["--allow-import", `--config=${path.join(root, "deno.json")}`, ...more];
          const running = new Run([deno, run!, ...args, "--version"], dir);
          assertEquals([await running.line(), await running.exit()], [VERSION, 0]);
        } finally {
          server.close();
        }
      }),
    { skip: !isDeno && "only Deno runs programs from URLs" },
  );
}
