/**
 * A directory as a queue of jobs for any number of workers: a job is a file, whole from the moment
 * that it is seen, and whoever works on it holds its lock. If a worker dies, the lock is free, and
 * another worker takes the job up again.
 *
 * ```sh
 * deno run -A examples/job_queue.ts
 * ```
 *
 * @module
 */
import { DirLock, isTempName } from "@aperture/atomic";
import { readJson, writeJson } from "@aperture/atomic/json";

const LOCK = ".lock";

/** Puts a job into the queue. Names are served in their order. */
export async function addJob(dir: string, name: string, job: unknown): Promise<void> {
  await writeJson(`${dir}/${name}.json`, job, { createNew: true, durability: "durable" });
}

/** Does the next job that nobody else is at; whether there was one. */
export async function doNextJob(
  dir: string,
  work: (job: unknown) => void | Promise<void>,
): Promise<boolean> {
  const names = Array.from(Deno.readDirSync(dir), ({ name }) => name);
  for (const name of names.filter((name) => name.endsWith(".json") && !isTempName(name)).sort()) {
    const lock = await DirLock.tryAcquire(dir, { lockFileName: name + LOCK });
    if (lock === null) continue; // Another is at it.
    try {
      const job = await readJson(`${dir}/${name}`);
      if (job === undefined) continue; // Another was, and has done it.
      await work(job);
      await Deno.remove(`${dir}/${name}`);
      return true;
    } finally {
      // Whoever opened the file meanwhile finds that it is not the one of that name any more.
      await Deno.remove(`${dir}/${name}${LOCK}`).catch(() => {});
      lock.release();
    }
  }
  return false;
}

if (import.meta.main) {
  const dir = await Deno.makeTempDir();
  for (let i = 0; i < 20; i++) await addJob(dir, String(i).padStart(3, "0"), { square: i });
  const done: number[] = [];
  const worker = async () => {
    while (await doNextJob(dir, (job) => void done.push((job as { square: number }).square ** 2)));
  };
  await Promise.all([worker(), worker(), worker()]);
  console.log(`${done.length} jobs done, ${new Set(done).size} of them once`);
  await Deno.remove(dir, { recursive: true });
}
