/**
 * A directory that serves as a job queue for any number of workers. Each job is a file that is
 * complete as soon as it becomes visible. While a worker runs a job, it holds that job's lock. If
 * the worker dies, the lock is released and another worker runs the job again.
 *
 * @module
 */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { DirLock, isTempName } from "@aperture/atomic";
import { readJson, writeJson } from "@aperture/atomic/json";

const LOCK = ".lock";

/** Adds a job to the queue. Jobs run in the order of their names. */
export async function addJob(dir: string, name: string, job: unknown): Promise<void> {
  await writeJson(`${dir}/${name}.json`, job, { createNew: true, durability: "durable" });
}

/** Runs the next job that no other worker is running; returns whether there was one. */
export async function doNextJob(
  dir: string,
  work: (job: unknown) => void | Promise<void>,
): Promise<boolean> {
  const names = await readdir(dir);
  for (const name of names.filter((name) => name.endsWith(".json") && !isTempName(name)).sort()) {
    const lock = await DirLock.tryAcquire(dir, { lockFileName: name + LOCK });
    if (lock === null) continue; // Another worker is running it.
    try {
      const job = await readJson(`${dir}/${name}`);
      if (job === undefined) continue; // Another worker has finished it.
      await work(job);
      await rm(`${dir}/${name}`);
      return true;
    } finally {
      // A worker that has already opened the lock file notices that it was removed.
      await rm(`${dir}/${name}${LOCK}`).catch(() => {});
      lock.release();
    }
  }
  return false;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const dir = await mkdtemp(`${tmpdir()}/job-queue-`);
  for (let i = 0; i < 20; i++) await addJob(dir, String(i).padStart(3, "0"), { square: i });
  const done: number[] = [];
  const worker = async () => {
    while (await doNextJob(dir, (job) => void done.push((job as { square: number }).square ** 2)));
  };
  await Promise.all([worker(), worker(), worker()]);
  console.log(`${done.length} jobs done, ${new Set(done).size} of them once`);
  await rm(dir, { recursive: true });
}
