import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { atomicUpdate, DirLock, isTempName, sweepTempFiles } from "../mod.ts";
import { Child } from "../tests/support/child.ts";
import { content, numberOf } from "../tests/support/content.ts";
import { inParallel, type Part, same, Tally } from "./part.ts";

/**
 * Kills processes at random moments. No file may be torn, and the lock must be freed immediately.
 */
export const proveCrashes: Part = async ({ short, runtimes }) => {
  const base = fs.mkdtempSync(path.join(os.tmpdir(), "prove-crashes-"));
  const kills = short ? 24 : 2_000;
  const [whole, free, counted] = [new Tally(), new Tally(), new Tally()];
  let leftovers = 0;
  let number = 0;

  const sleep = (milliseconds: number) => new Promise((go) => setTimeout(go, milliseconds));
  const start = async (job: string, args: (string | number)[], round: number) => {
    const child = new Child(job, args, runtimes[round % runtimes.length]!.options);
    await child.says("writing");
    await sleep(Math.random() * 10);
    return child;
  };
  const swept = async (dir: string, keep: string[]) => {
    const left = fs.readdirSync(dir).filter((name) => !keep.includes(name));
    if (!left.every(isTempName)) throw new Error(`left: ${left}`);
    leftovers += left.length;
    same((await sweepTempFiles(dir, { olderThan: 0 })).length, left.length);
  };

  const rounds = Array.from({ length: kills }, (_, i) => i);
  await inParallel(rounds, 3, async (round) => {
    const dir = path.join(base, String(number++));
    fs.mkdirSync(dir);
    const file = path.join(dir, "file");
    if (round % 3 === 0) {
      await whole.try(`write ${round}`, async () => {
        fs.writeFileSync(file, content(0, 10));
        const durability = ["none", "consistent", "durable"][round / 3 % 3]!;
        const form = round % 2 === 0 ? "async" : "sync";
        await (await start("write", [durability, form, file], round)).kill();
        numberOf(fs.readFileSync(file));
        await swept(dir, ["file"]);
      });
    } else if (round % 3 === 1) {
      await free.try(`lock ${round}`, async () => {
        await (await start("lockAndWrite", [dir], round)).kill();
        const lock = DirLock.tryAcquireSync(dir);
        if (lock === null) throw new Error("the lock is not free");
        lock.release();
        if (fs.existsSync(file)) numberOf(fs.readFileSync(file));
        await swept(dir, ["file", ".aperture.lock"]);
      });
    } else {
      await counted.try(`update ${round}`, async () => {
        const child = await start("countForEver", [file], round);
        await child.kill();
        const told = fs.statSync(path.join(dir, "told")).size;
        let found = 0;
        await atomicUpdate(file, (bytes) => {
          found = bytes === null ? 0 : Number(new TextDecoder().decode(bytes));
          return null;
        });
        // The last update may have completed before the process could report it.
        if (found < told || found > told + 1) throw new Error(`${told} told, ${found} found`);
        await swept(dir, ["file", "told", ".aperture.lock"]);
      });
    }
    fs.rmSync(dir, { recursive: true });
  });
  fs.rmSync(base, { recursive: true });
  // A short run may happen to leave no temporary file behind.
  if (leftovers === 0 && !short) whole.failures.push("no process was killed while it wrote");
  return [
    whole.row(
      "A killed writer leaves one complete version",
      `SIGKILL; ${leftovers} temporary files swept`,
    ),
    free.row("A killed holder's lock is freed immediately", "SIGKILL while the lock is held"),
    counted.row("A kill loses no completed update", "SIGKILL while updating"),
  ];
};
