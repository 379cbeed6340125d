import { assertEquals, assertRejects } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { ExitError } from "../../internal/cli/errors.ts";
import { signalCode, start } from "../../internal/cli/process.ts";
import { inTempDir } from "../support/dir.ts";
import { isDeno, test } from "../support/test.ts";
import { cli, command, onUnix, Run } from "./command.ts";

test("start() returns the command's exit code, or 128 + n after signal n", async () => {
  const cases: [script: string, code: number][] = [
    ["exit 3", 3],
    ["kill -TERM $$", 143],
    ["kill -KILL $$", 137],
  ];
  for (const [script, code] of cases) {
    assertEquals(await (await start(["sh", "-c", script], false)).ended, code);
  }
}, onUnix);

test("start() returns the command's output if it is piped", async () => {
  const { output, ended } = await start(["sh", "-c", "echo one; echo two"], true);
  let text = "";
  for await (const chunk of output!) text += new TextDecoder().decode(chunk);
  assertEquals([text, await ended], ["one\ntwo\n", 0]);
}, onUnix);

test(
  "start() reports why it cannot run the command, with exit code 126 or 127",
  () =>
    inTempDir(async (dir) => {
      const at = (name: string) => path.join(dir, name);
      fs.writeFileSync(at("plain"), "not a program", { mode: 0o644 });
      fs.writeFileSync(at("crlf"), "#!/bin/sh\r\nexit 0\r\n", { mode: 0o755 });
      const cases: [program: string, code: number, why: string][] = [
        [at("missing"), 127, "not found"],
        ["missing", 127, "not found"],
        [at("crlf"), 127, "the interpreter named in its first line was not found"],
        [at("plain"), 126, "not executable"],
        [dir, 126, "not executable"],
        [".", 126, "not executable"],
      ];
      for (const [program, code, why] of cases) {
        const error = await assertRejects(() => start([program], false), ExitError);
        assertEquals([error.message, error.exitCode], [`Cannot run '${program}': ${why}`, code]);
      }
    }),
  onUnix,
);

test("signalCode() is 128 + n", () => {
  assertEquals([signalCode("SIGINT"), signalCode("SIGTERM")], [130, 143]);
});

test(
  "runCommand() does not forward SIGINT on Windows, where the console sends it to the command",
  () =>
    inTempDir(async (dir) => {
      const url = new URL(`../../internal/cli/process${path.extname(cli)}`, import.meta.url).href;
      const program = path.join(dir, "program.mjs");
      fs.writeFileSync(
        program,
        `import process from "node:process";
      import { runCommand } from ${JSON.stringify(url)};
      Object.defineProperty(process, "platform", { value: "win32" });
      const script = "trap 'echo interrupted' INT; echo ready; read line; exit 5";
      process.exit(await runCommand(["sh", "-c", script]));`,
      );
      const [file, ...args] = command(program);
      // The configuration file may contain the import map that the program needs.
      if (isDeno) args.splice(1, 0, `--config=${path.join(path.dirname(cli), "deno.json")}`);
      const running = new Run([file, ...args], dir);
      await running.says("ready");
      running.signal("SIGINT");
      running.process.stdin!.end("\n");
      assertEquals(await running.end(), { code: 5, out: "", err: "" });
    }),
  onUnix,
);
