/** Ctrl-C in a Windows console; scripts/wine/console.c sends it. */
import { assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { DirLock } from "../../mod.ts";
import { inTempDir } from "../support/dir.ts";
import { isDeno, test } from "../support/test.ts";

const typist = process.env.APERTURE_CONSOLE_PROGRAM;
const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const cli = fileURLToPath(new URL(`../../cli.${extension}`, import.meta.url));
const more: string[] = JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]");

/** The program that `lock` runs; it handles Ctrl-C after a delay. */
const PROGRAM = `import process from "node:process";
  process.on("SIGINT", () => setTimeout(() => { console.log("ended"); process.exit(5); }, 200));
  setInterval(() => {}, 1000);
  console.log("ready");`;

test(
  "`lock` lets its command handle Ctrl-C in a console",
  () =>
    inTempDir(async (dir) => {
      const self = isDeno
        ? [process.execPath, "run", "-A", "--quiet", ...more]
        : [process.execPath];
      const program = isDeno
        ? [process.execPath, "eval", PROGRAM]
        : [process.execPath, "--input-type=module", "-e", PROGRAM];
      const args = [...self, cli, "lock", dir, "--", ...program];
      const { stdout, stderr } = spawnSync(typist!, args, { encoding: "utf8", timeout: 50_000 });
      const lines = stdout.split(/\r?\n/).filter(Boolean);
      assertEquals(lines, ["ready", "ended", "exit 5"], stderr);
      (await DirLock.tryAcquire(dir))!.release();
    }),
  { skip: typist === undefined && "requires a Windows console and APERTURE_CONSOLE_PROGRAM" },
);
