import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { nodeModules, setUp } from "../scripts/lib/setup.mjs";
import { Child } from "../tests/support/child.ts";
import { apart, compileForNode, markdown, type ProveApart, say, sh, sleep } from "./ground.ts";
import {
  clients,
  type GuestRuntime,
  type Machine,
  Machines,
  type Share,
} from "./network/machines.ts";
import { type Part, root, type Row, same, Tally } from "./part.ts";

/** Where the machines' image is kept: building it takes minutes. */
const IMAGE = Deno.env.get("APERTURE_MACHINES") ?? path.join(os.tmpdir(), "aperture-machines");

const WORKER = "prove/network/worker";
const GROUND_WORKER = "tests/support/ground_worker";
const RUNTIMES: readonly GuestRuntime[] = ["node", "deno", "bun"];

/** What does not work on SMB mounts from Linux, and so is left out there. */
const LACKS: Readonly<Record<Share, string>> = {
  nfs42: "none",
  nfs3: "none",
  smb: "locks,modes,links",
};

/** How long the lock of a machine that died may stay, in milliseconds: NFS 4's lease is 90 s. */
const LEASE_MS = 90_000;

/** Several machines share a directory by NFS 4.2, NFS 3 or SMB. */
export const proveNetwork: Part = async (scale) => {
  const needs = {
    commands: {
      "qemu-system-x86_64": "qemu-system-x86",
      debootstrap: "debootstrap",
      cpio: "cpio",
      busybox: "busybox-static",
      "mkfs.ext4": "e2fsprogs",
      ssh: "openssh-client",
    },
  };
  const proveApart = apart("network", "Several machines share a directory of a server", needs);
  const ready = spawnSync("sh", [
    "-c",
    Object.keys(needs.commands).map((name) => `command -v ${name}`).join(" && "),
  ]);
  // In its namespaces there is no network to get packages from.
  if (ready.status === 0) buildImage();
  return await proveApart(scale);
};

function buildImage(): void {
  if (fs.existsSync(`${IMAGE}/root.img`)) return;
  setUp();
  say(`building the machines' image in ${IMAGE}`);
  const node = sh('readlink -f "$(command -v node)"');
  const { status, stdout, stderr } = spawnSync(`${root}prove/network/image.sh`, [
    IMAGE,
    node,
    Deno.execPath(),
    fs.realpathSync(`${nodeModules}/.bin/bun`),
  ], { encoding: "utf8", maxBuffer: 2 ** 28 });
  if (status !== 0) throw new Error(`image.sh: ${stdout.slice(-2_000)}${stderr.slice(-2_000)}`);
}

export const prove: ProveApart = async ({ short }) => {
  sh("ip link set lo up");
  await compileForNode(GROUND_WORKER);
  await compileForNode(WORKER);
  const state = fs.mkdtempSync(path.join(os.tmpdir(), "prove-network-"));
  const machines = new Machines(IMAGE, state);
  const rows: Row[] = [];
  try {
    await machines.start();
    say("the machines run");
    for (const share of short ? ["nfs42"] as const : ["nfs42", "nfs3", "smb"] as const) {
      rows.push(...await new Proof(machines, share, short).run());
    }
  } finally {
    await machines.stop();
    fs.rmSync(state, { recursive: true });
  }
  const cells = rows.map(({ guarantee, method, trials, failures }) => {
    return [guarantee, method, trials, failures.length];
  });
  console.error(markdown(["what was tried", "how", "trials", "failures"], cells));
  return rows;
};

/** The checks on one share that both clients have mounted. */
class Proof {
  readonly #machines: Machines;
  readonly #share: Share;
  readonly #short: boolean;
  readonly #rows: Row[] = [];
  #number = 0;

  constructor(machines: Machines, share: Share, short: boolean) {
    this.#machines = machines;
    this.#share = share;
    this.#short = short;
  }

  async run(): Promise<Row[]> {
    for (const client of clients) this.#machines.mount(client, this.#share);
    await this.#basics();
    if (this.#share !== "smb") {
      await this.#exclusion();
      await this.#killedHolder();
      await this.#counters();
      await this.#hardLinks();
    }
    await this.#reads();
    if (this.#share !== "smb" && !this.#short) {
      await this.#pulledCable();
      await this.#killedMachine();
    }
    return this.#rows;
  }

  /** The 29 checks of the worker, on each runtime; 16 of them on SMB. */
  async #basics(): Promise<void> {
    const tally = new Tally();
    for (const runtime of RUNTIMES) {
      const child = this.#start("a", runtime, WORKER, "basics", [
        this.#fresh(),
        LACKS[this.#share],
      ]);
      const { count, failures } = JSON.parse(await child.line());
      await child.exit();
      tally.trials += count;
      tally.failures.push(...failures.map((failure: string) => `${runtime}: ${failure}`));
    }
    this.#add(tally, "The library works", "basic checks on Node, Deno and Bun");
  }

  /** Each runtime on one machine keeps out each runtime on the other. */
  async #exclusion(): Promise<void> {
    const tally = new Tally();
    for (const one of RUNTIMES) {
      for (const other of RUNTIMES) {
        await tally.try(`${one} and ${other}`, async () => {
          const dir = this.#fresh();
          const holder = this.#start("a", one, GROUND_WORKER, "hold", [dir]);
          const asking = this.#start("b", other, WORKER, "try", [dir]);
          await Promise.all([holder.says("held"), asking.says("ready")]);
          asking.tell();
          await asking.says("busy null");
          holder.tell();
          await holder.says("verified");
          same(await holder.exit(), 0);
          asking.tell();
          await asking.says("free");
          await asking.kill();
        });
      }
    }
    const tallyOfTurns = new Tally();
    await tallyOfTurns.try("contention", async () => {
      const dir = this.#fresh();
      const time = this.#short ? 10_000 : 60_000;
      const children = RUNTIMES.flatMap((runtime, i) =>
        clients.map((client, j) => {
          const args = [dir, time, 0, 2 * i + j, "flock"];
          return this.#start(client, runtime, GROUND_WORKER, "contend", args);
        })
      );
      await Promise.all(children.map(async (child) => {
        const line = await child.line();
        if (!line.startsWith("turns")) throw new Error(line);
        tallyOfTurns.trials += Number(line.split(" ")[1]);
        await child.exit();
      }));
    });
    this.#add(tally, "Machines exclude each other", "each runtime against each");
    this.#add(tallyOfTurns, "Never two holders", "six processes on two machines");
  }

  async #killedHolder(): Promise<void> {
    const tally = new Tally();
    let longest = 0;
    for (const runtime of RUNTIMES) {
      await tally.try(runtime, async () => {
        const dir = this.#fresh();
        const holder = this.#start("a", runtime, GROUND_WORKER, "hold", [dir]);
        await holder.says("held");
        const asking = this.#start("b", "node", WORKER, "try", [dir]);
        await asking.says("ready");
        this.#machines.run("a", `pkill -KILL -f '[h]old ${dir}'`);
        longest = Math.max(longest, await waitUntilFree(asking, 30_000));
        await Promise.all([asking.kill(), holder.kill()]);
      });
    }
    this.#add(tally, "A killed holder's lock is freed", `at the latest after ${longest} ms`);
  }

  /** Counters of both machines, with and without readers on both. */
  async #counters(): Promise<void> {
    const times = this.#short ? 10 : 80;
    for (const withReaders of [false, true]) {
      const tally = new Tally();
      const method = await this.#counter(tally, times, withReaders);
      this.#add(tally, "Machines lose no update", `updateJson(), six processes${method}`);
    }
  }

  async #counter(tally: Tally, times: number, withReaders: boolean): Promise<string> {
    let reads = 0;
    await tally.try("counter", async () => {
      const file = `${this.#fresh()}/counter.json`;
      const start = (job: string, args: (string | number)[]) =>
        RUNTIMES.flatMap((runtime) =>
          clients.map((client) => this.#start(client, runtime, WORKER, job, args))
        );
      const writers = start("addMany", [file, times]);
      for (const writer of writers) await writer.says("ready");
      const readers = withReaders ? start("readMany", [file]) : [];
      for (const reader of readers) await reader.says("reading");
      for (const writer of writers) writer.tell();
      for (const writer of writers) await writer.says("done");
      for (const reader of readers) {
        reader.tell();
        const seen = JSON.parse(await reader.line());
        reads += seen.reads;
        same(seen.failures, []);
      }
      await Promise.all([...writers, ...readers].map((child) => child.exit()));
      for (const client of clients) {
        same(this.#machines.run(client, `cat ${file}`).trim(), String(writers.length * times));
      }
      tally.trials += writers.length * times;
    });
    return withReaders ? `, ${reads} reads on both` : "";
  }

  /**
   * A client must not take a cached name for the current file. It does, without our care, while the
   * old file still exists on the server: because of a hard link or an open descriptor.
   */
  async #hardLinks(): Promise<void> {
    const tally = new Tally();
    for (const runtime of RUNTIMES) {
      for (const how of ["async", "sync", "by hand"]) {
        for (const kept of ["link", "open"]) {
          await tally.try(`${runtime}, ${how}, ${kept}`, async () => {
            const dir = this.#fresh();
            const file = `${dir}/n.json`;
            const job = [file, how.replace(" ", "-")];
            const a = this.#start("a", runtime, WORKER, "addWhenTold", job);
            const b = this.#start("b", runtime, WORKER, "addWhenTold", job);
            await Promise.all([a.says("ready"), b.says("ready")]);
            this.#machines.run("a", `echo 1 > ${file}`);
            if (kept === "link") this.#machines.run("a", `ln ${file} ${dir}/backup`);
            else a.tell("open");
            b.tell("read");
            await b.says("1");
            for (const child of [a, b]) {
              child.tell();
              await child.says("added");
            }
            same(this.#machines.run("b", `cat ${file}`).trim(), "3");
            await Promise.all([a.kill(), b.kill()]);
          });
        }
      }
    }
    this.#add(tally, "An update sees the other machine's", "the old file has a link or is open");
  }

  /** Readers of both machines while one replaces the file. */
  async #reads(): Promise<void> {
    const tally = new Tally();
    let method = "";
    await tally.try("reads", async () => {
      const dir = this.#fresh();
      const file = `${dir}/file.json`;
      this.#machines.run("a", `echo 0 > ${file}`);
      const readers = clients.map((client) => {
        return this.#start(client, "node", WORKER, "readMany", [file]);
      });
      for (const reader of readers) await reader.says("reading");
      const times = this.#short ? 50 : 300;
      this.#machines.run(
        "a",
        `i=0; while [ $((i += 1)) -le ${times} ]; do echo $i > ${file}.new; ` +
          `mv ${file}.new ${file} || exit; done`,
      );
      for (const reader of readers) {
        reader.tell();
        const { reads, missing, failures } = JSON.parse(await reader.line());
        tally.trials += reads;
        method += `${method && ", "}${missing} of ${reads} missing`;
        await reader.exit();
        // What SMB refuses to readers is not ours to mend.
        if (this.#share !== "smb") same(failures, []);
      }
    });
    this.#add(
      tally,
      "Readers see whole files",
      `readJson() on the writer's machine and the other: ${method}`,
    );
  }

  async #pulledCable(): Promise<void> {
    const tally = new Tally();
    let method = "";
    await tally.try("cable", async () => {
      const dir = this.#fresh();
      const holder = this.#start("a", "node", GROUND_WORKER, "hold", [dir]);
      await holder.says("held");
      const asking = this.#start("b", "node", WORKER, "try", [dir]);
      await asking.says("ready");
      await this.#machines.setCable("a", "down");
      try {
        // Version 3 knows no lease: the lock stays until its holder is back.
        const most = this.#share === "nfs3" ? 0 : 2 * LEASE_MS;
        if (most > 0) method = `free after ${await waitUntilFree(asking, most)} ms`;
      } finally {
        await this.#machines.setCable("a", "up");
      }
      await sleep(20_000);
      holder.tell();
      method += `${method && ", "}its holder then says: ${await holder.line()}`;
      await Promise.all([holder.kill(), asking.kill()]);
    });
    this.#add(tally, "A pulled cable", method);
  }

  async #killedMachine(): Promise<void> {
    const tally = new Tally();
    let method = "the lock stays, as version 3 has it";
    await tally.try("machine", async () => {
      const dir = this.#fresh();
      const holder = this.#start("a", "node", GROUND_WORKER, "hold", [dir]);
      await holder.says("held");
      const asking = this.#start("b", "node", WORKER, "try", [dir]);
      await asking.says("ready");
      await this.#machines.kill("a");
      await holder.kill();
      try {
        if (this.#share === "nfs3") {
          await sleep(LEASE_MS);
          asking.tell();
          same((await asking.line()).split(" ")[0], "busy");
        } else method = `free after ${await waitUntilFree(asking, 2 * LEASE_MS)} ms`;
      } finally {
        await asking.kill();
        await this.#machines.restart("a");
      }
    });
    this.#add(tally, "A machine that dies", method);
  }

  /** A new directory on the share. */
  #fresh(): string {
    const dir = `/mnt/${this.#share}/${this.#number++}`;
    this.#machines.run("a", `mkdir -m 777 ${dir}`);
    return dir;
  }

  #start(
    machine: Machine,
    runtime: GuestRuntime,
    worker: string,
    job: string,
    args: readonly (string | number)[],
  ): Child {
    return new Child(job, [...args], { worker: this.#machines.worker(machine, runtime, worker) });
  }

  #add(tally: Tally, guarantee: string, method: string): void {
    this.#rows.push(tally.row(`${this.#share}: ${guarantee}`, method));
    say(`${this.#share}: ${guarantee}: ${tally.trials} trials, ${tally.failures.length} failures`);
    for (const failure of tally.failures) say(`  ${failure}`);
  }
}

/** Asks until the lock is free; returns after how many milliseconds it was. */
async function waitUntilFree(asking: Child, most: number): Promise<number> {
  const started = performance.now();
  for (;;) {
    asking.tell();
    const line = await asking.line();
    const ms = Math.round(performance.now() - started);
    if (line === "free") return ms;
    if (ms > most) throw new Error(`after ${ms} ms the lock is ${line}`);
    await sleep(100);
  }
}
