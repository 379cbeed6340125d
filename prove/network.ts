import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { nodeModules, setUp } from "../scripts/lib/setup.mjs";
import { Child } from "../tests/support/child.ts";
import { apart, compileForNode, markdown, type ProveApart, say, sh, sleep } from "./ground.ts";
import {
  type Client,
  clients,
  type GuestRuntime,
  Machines,
  type Share,
} from "./network/machines.ts";
import { FIXES } from "./network/fixes.ts";
import { type Part, root, type Row, same, Tally } from "./part.ts";

/** The directory in which the machines' image is kept, since building it takes minutes. */
const IMAGE = Deno.env.get("APERTURE_MACHINES") ?? path.join(os.tmpdir(), "aperture-machines");

const WORKER = "prove/network/worker";
const GROUND_WORKER = "tests/support/ground_worker";
const RUNTIMES: readonly GuestRuntime[] = ["node", "deno", "bun"];

/**
 * The features that each share lacks. Checks of these features are skipped. Only SMB mounts on
 * Linux lack any.
 */
const LACKS: Readonly<Record<Share, string>> = {
  nfs42: "none",
  nfs3: "none",
  smb: "locks,modes,links",
};

const SHARES = Object.keys(LACKS) as Share[];

/**
 * The names of the checks to run, as in the table, separated by commas. If unset, all checks run
 * or, with `--short`, only those that take a few seconds.
 */
const CHECKS = Deno.env.get("APERTURE_CHECKS")?.split(",");

/**
 * How long a command may take, in milliseconds. A reader finishes its last read before it replies.
 * Calls on SMB mounts have been observed to hang forever.
 */
const ANSWER_TIMEOUT_MS = { writer: 900_000, reader: 180_000 };

/** How long a dead machine's lock may stay held, in milliseconds. NFS 4's lease is 90 s. */
const LEASE_MS = 90_000;

/** A check's results and a description of how it was performed. */
interface Result {
  readonly tally: Tally;
  readonly method: string;
  /** Whether the check is incomplete because calls hang in a client's kernel. */
  readonly hangs?: boolean;
}

interface TimedRow extends Row {
  readonly seconds: number;
}

/** Several machines share a directory over NFS 4.2, NFS 3 or SMB. */
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
  const proveApart = apart("network", "Several machines share a directory on a server", needs);
  const ready = spawnSync("sh", [
    "-c",
    Object.keys(needs.commands).map((name) => `command -v ${name}`).join(" && "),
  ]);
  // Packages cannot be downloaded inside the namespaces, which have no network.
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
  const rows: TimedRow[] = [];
  try {
    await machines.start();
    say("the machines run");
    for (const share of chosenShares(short)) {
      rows.push(...await new Proof(machines, share, short).run());
    }
  } finally {
    await machines.stop();
    fs.rmSync(state, { recursive: true });
  }
  const cells = rows.map(({ guarantee, method, trials, failures, seconds }) => {
    return [guarantee, method, trials, failures.length, seconds];
  });
  console.error(markdown(["what was checked", "how", "trials", "failures", "seconds"], cells));
  return rows;
};

/** The mounts to check; `APERTURE_SHARES=nfs3,smb` selects others. */
function chosenShares(short: boolean): Share[] {
  const names = Deno.env.get("APERTURE_SHARES")?.split(",") ?? (short ? ["nfs42"] : SHARES);
  const unknown = names.find((name) => !Object.hasOwn(LACKS, name));
  if (unknown !== undefined) throw new Error(`Expected one of ${SHARES}, not ${unknown}`);
  return names as Share[];
}

/** The checks on a share that both clients have mounted. */
class Proof {
  readonly #machines: Machines;
  readonly #share: Share;
  /** Whether to leave out the checks that take minutes. */
  readonly #short: boolean;
  /** Whether to repeat less often. Only NFS 4.2 gets the full number of trials. */
  readonly #few: boolean;
  readonly #rows: TimedRow[] = [];
  readonly #peers = new Map<string, Peer>();
  #number = 0;

  constructor(machines: Machines, share: Share, short: boolean) {
    this.#machines = machines;
    this.#share = share;
    this.#short = short;
    this.#few = short || share !== "nfs42";
  }

  async run(): Promise<TimedRow[]> {
    for (const client of clients) this.#machines.mount(client, this.#share);
    const hasLocks = this.#share !== "smb";
    const isLong = !this.#short || CHECKS !== undefined;
    await this.#check("The library works", () => this.#basics());
    if (hasLocks) {
      await this.#check("Machines exclude each other", () => this.#exclusion());
      await this.#check("Never two holders", () => this.#contention());
      await this.#check("A killed holder's lock is freed", () => this.#killedHolder());
      if (isLong) await this.#check("Machines lose no update", () => this.#counter(false));
      await this.#check("Machines lose no update", () => this.#counter(true));
      await this.#check("An update sees the other machine's update", () => this.#hardLinks());
      await this.#check("verify() detects a replaced lock file", () => this.#replacedLock());
    } else await this.#check("A busy lock is reported", () => this.#busyLock());
    await this.#check("Readers see complete files", () => this.#reads());
    if (this.#share === "nfs42" && isLong) {
      await this.#check("Each check can fail", () => this.#withoutFixes());
    }
    if (hasLocks && isLong) {
      await this.#check("A machine's cable is pulled", () => this.#pulledCable());
      await this.#check("A machine dies", () => this.#killedMachine());
    }
    await this.#endAll();
    return this.#rows;
  }

  /** Runs a check and adds its row, unless `APERTURE_CHECKS` selects others. */
  async #check(guarantee: string, check: () => Promise<Result>): Promise<void> {
    if (CHECKS !== undefined && !CHECKS.includes(`${this.#share}: ${guarantee}`)) return;
    const started = performance.now();
    const { tally, method, hangs = false } = await this.#result(check);
    const seconds = Math.round((performance.now() - started) / 1000);
    const row = tally.row(`${this.#share}: ${guarantee}`, method);
    this.#rows.push({ ...row, seconds, skipped: hangs && row.failures.length === 0 });
    say(
      `${row.guarantee}: ${method}: ${row.trials} trials, ${row.failures.length} failures, ${seconds} s` +
        (hangs ? ", not completed" : ""),
    );
    for (const failure of row.failures) say(`  ${failure}`);
  }

  /** Runs a check, recording any error that it throws in a tally. */
  async #result(check: () => Promise<Result>): Promise<Result> {
    const tally = new Tally();
    let result: Result = { tally, method: "" };
    await tally.try("ended early", async () => result = await check());
    return result;
  }

  /** Runs the worker's 29 checks on each runtime; on SMB, only 19 of them. */
  async #basics(): Promise<Result> {
    const tally = new Tally();
    for (const runtime of RUNTIMES) {
      const args = [this.#fresh(), LACKS[this.#share]];
      const { count, failures } = await this.#peer("a", runtime).ask("basics", ...args);
      tally.trials += count;
      tally.failures.push(...failures.map((failure: string) => `${runtime}: ${failure}`));
    }
    return { tally, method: "basic checks on Node, Deno and Bun" };
  }

  /** Checks that a lock held by any runtime on one machine excludes every runtime on the other. */
  async #exclusion(): Promise<Result> {
    const tally = new Tally();
    for (const one of RUNTIMES) {
      for (const other of RUNTIMES) {
        await tally.try(`${other} while ${one} has the lock`, async () => {
          const [holder, asking] = [this.#peer("a", one), this.#peer("b", other)];
          const dir = this.#fresh();
          await holder.ask("acquire", dir);
          // The other machine knows that the lock is held, but not by which process.
          const busy = await asking.ask("try", dir);
          await holder.ask("verify");
          await holder.ask("release");
          same([busy, await asking.ask("try", dir)], [null, "free"]);
        });
      }
    }
    return { tally, method: "each runtime against each" };
  }

  async #contention(): Promise<Result> {
    const tally = new Tally();
    await tally.try("contention", async () => {
      const dir = this.#fresh();
      const time = this.#few ? 10_000 : 60_000;
      const children = this.#everywhere().map(([client, runtime], i) => {
        return this.#start(client, runtime, GROUND_WORKER, "contend", [dir, time, 0, i, "flock"]);
      });
      let turns = 0;
      for (const child of children) {
        const line = await child.line();
        if (!line.startsWith("turns")) throw new Error(line);
        turns += Number(line.split(" ")[1]);
        await child.exit();
      }
      tally.trials = turns;
    });
    return { tally, method: "six processes on two machines" };
  }

  async #killedHolder(): Promise<Result> {
    const tally = new Tally();
    let longest = 0;
    for (const runtime of RUNTIMES) {
      await tally.try(runtime, async () => {
        const dir = this.#fresh();
        const holder = this.#peer("a", runtime);
        await holder.ask("acquire", dir);
        same(await this.#peer("b", "node").ask("try", dir), null);
        this.#machines.run("a", `kill -KILL ${await holder.ask("pid")}`);
        longest = Math.max(longest, await waitUntilFree(this.#peer("b", "node"), dir, 30_000));
        await this.#end("a", runtime);
      });
    }
    return { tally, method: `at the latest after ${longest} ms` };
  }

  /** Increments a counter from both machines, with or without readers on both. */
  async #counter(withReaders: boolean): Promise<Result> {
    const times = this.#few ? 10 : 80;
    const tally = new Tally();
    let reads = 0;
    await tally.try("counter", async () => {
      const file = `${this.#fresh()}/counter.json`;
      const places = this.#everywhere();
      const writers = places.map(([client, runtime]) => this.#peer(client, runtime));
      const readers = withReaders
        ? places.map(([client, runtime]) => this.#peer(client, runtime, "reader"))
        : [];
      await Promise.all(readers.map((reader) => reader.ask("startReading", file)));
      await Promise.all(writers.map((writer) => writer.ask("addMany", file, times)));
      for (const reader of readers) {
        const seen = await reader.ask("stopReading");
        reads += seen.reads;
        same(seen.failures, []);
      }
      const expected = writers.length * times;
      for (const client of clients) {
        same(this.#machines.run(client, `cat ${file}`), String(expected));
      }
      tally.trials = expected;
    });
    const method = `updateJson(), six processes${withReaders ? `, ${reads} reads on both` : ""}`;
    return { tally, method };
  }

  /**
   * Checks that a client does not mistake its cached file for the current file. Without the
   * library's precautions, that would happen as long as a hard link or an open descriptor keeps the
   * old file on the server.
   */
  async #hardLinks(): Promise<Result> {
    const tally = new Tally();
    for (const runtime of RUNTIMES) {
      const [a, b] = [this.#peer("a", runtime), this.#peer("b", runtime)];
      for (const how of ["async", "sync", "by hand"]) {
        for (const kept of ["link", "open"]) {
          await tally.try(`${runtime}, ${how}, ${kept}`, async () => {
            const dir = this.#fresh();
            const file = `${dir}/n.json`;
            this.#machines.run("a", `echo 1 > ${file}`);
            if (kept === "link") this.#machines.run("a", `ln ${file} ${dir}/backup`);
            else await a.ask("open", file);
            same(await b.ask("read", file), "1");
            await a.ask("add", file, how);
            await b.ask("add", file, how);
            same(await b.ask("read", file), "3");
          });
        }
      }
    }
    return { tally, method: "the old file has a link or is open" };
  }

  /** Checks that a holder notices that another machine has replaced its lock file. */
  async #replacedLock(): Promise<Result> {
    const tally = new Tally();
    for (const runtime of RUNTIMES) {
      await tally.try(runtime, async () => {
        const dir = this.#fresh();
        const holder = this.#peer("a", runtime);
        await holder.ask("acquire", dir);
        this.#machines.run("b", `cd ${dir}; touch new; mv new .aperture.lock`);
        same((await failureOf(holder.ask("verify"))).split(":")[0], "ESTALE");
      });
    }
    return { tally, method: "by the other machine" };
  }

  /** Checks that the error for a busy lock on SMB says that Linux cannot lock reliably there. */
  async #busyLock(): Promise<Result> {
    const tally = new Tally();
    for (const runtime of RUNTIMES) {
      await tally.try(runtime, async () => {
        const dir = this.#fresh();
        await this.#peer("a", runtime).ask("acquire", dir);
        const failure = await failureOf(this.#peer("b", runtime).ask("try", dir));
        if (!/^EACCES: .*SMB/.test(failure)) throw new Error(failure);
      });
    }
    return { tally, method: "EACCES, with the reason" };
  }

  /** Reads a file from both machines while one of them replaces it. */
  async #reads(): Promise<Result> {
    const tally = new Tally();
    const missing = { a: 0, b: 0 };
    const dir = this.#fresh();
    const file = `${dir}/file.json`;
    this.#machines.run("a", `echo 0 > ${file}`);
    const readers = await Promise.all(
      this.#everywhere().map(async ([client, runtime]) => {
        const peer = this.#peer(client, runtime, "reader");
        return { client, runtime, peer, pid: await peer.ask("pid") };
      }),
    );
    await Promise.all(readers.map(({ peer }) => peer.ask("startReading", file)));
    const times = this.#few ? 30 : 100;
    // If a program on the writer's machine has the old file open, the NFS client renames it to .nfs…
    // first, and the name is missing for a moment. SMB refuses to replace such a file.
    const vanish = String(this.#share !== "smb");
    const refused = await this.#peer("a", "node").ask("replace", file, times, vanish);
    const hanging: string[] = [];
    let invalid = 0;
    await Promise.all(readers.map(({ client, runtime, peer, pid }) => {
      return tally.try(`${runtime} on ${client}`, async () => {
        let seen;
        try {
          seen = await peer.ask("stopReading");
        } catch (error) {
          // The library cannot prevent this hang, which leaves the check incomplete.
          const stacks = this.#machines.run(client, `cat /proc/${pid}/task/*/stack`);
          if (this.#share !== "smb" || !stacks.includes("[cifs]")) throw error;
          tally.trials--;
          hanging.push(`${runtime} on ${client}`);
          return;
        }
        tally.trials += seen.reads - 1;
        missing[client] += seen.missing;
        // Linux's SMB client may refuse to open a file that has just been replaced.
        const isKnown = (failure: string) => this.#share === "smb" && failure.startsWith("EINVAL:");
        invalid += seen.failures.filter(isKnown).length;
        same([seen.missing, ...seen.failures.filter((failure: string) => !isKnown(failure))], [0]);
      });
    }));
    const hang = hanging.length > 0
      ? `; hang in the kernel's SMB client: ${hanging.sort().join(", ")}`
      : "";
    const opens = invalid > 0 ? `; opening failed with EINVAL ${invalid} times` : "";
    const method = `${times} replacements, ${refused} refused; six readers, name missing ` +
      `${missing.a} times on the writer's machine, ${missing.b} on the other${opens}${hang}`;
    return { tally, method, hangs: hang !== "" };
  }

  async #pulledCable(): Promise<Result> {
    const tally = new Tally();
    let method = "the lock remains held";
    await tally.try("cable", async () => {
      const dir = this.#fresh();
      const [holder, asking] = [this.#peer("a", "node"), this.#peer("b", "node")];
      await holder.ask("acquire", dir);
      same(await asking.ask("try", dir), null);
      await this.#machines.setCable("a", "down");
      try {
        if (this.#share === "nfs3") await staysHeld(asking, dir);
        else method = `free after ${await waitUntilFree(asking, dir, 2 * LEASE_MS)} ms`;
      } finally {
        await this.#machines.setCable("a", "up");
      }
      await sleep(20_000);
      const says = await failureOf(holder.ask("verify"));
      method += `; the holder's verify() then reports: ${says || "held"}`;
    });
    return { tally, method };
  }

  async #killedMachine(): Promise<Result> {
    const tally = new Tally();
    let method = "the lock remains held";
    await tally.try("machine", async () => {
      const dir = this.#fresh();
      const asking = this.#peer("b", "node");
      await this.#peer("a", "node").ask("acquire", dir);
      same(await asking.ask("try", dir), null);
      await this.#machines.kill("a");
      for (const runtime of RUNTIMES) await this.#end("a", runtime);
      try {
        if (this.#share === "nfs3") await staysHeld(asking, dir);
        else method = `free after ${await waitUntilFree(asking, dir, 2 * LEASE_MS)} ms`;
      } finally {
        await this.#machines.restart("a");
        this.#machines.mount("a", this.#share);
      }
      // NFS 3 cannot free the lock, because the machine no longer knows which servers to notify.
      if (this.#share !== "nfs3") same(await this.#peer("a", "node").ask("try", dir), "free");
    });
    return { tally, method };
  }

  /**
   * Removes each fix from the library in turn and runs the fix's check, which must fail on every
   * runtime.
   */
  async #withoutFixes(): Promise<Result> {
    const caught = new Tally();
    const checks = {
      exclusion: () => this.#exclusion(),
      hardLinks: () => this.#hardLinks(),
      replacedLock: () => this.#replacedLock(),
      reads: () => this.#reads(),
    };
    for (const fix of FIXES) {
      await this.#endAll();
      const { tally, method } = await this.#machines.broken(fix, async () => {
        const result = await this.#result(checks[fix.check]);
        await this.#endAll();
        return result;
      });
      say(`${fix.name}: ${method}: ${tally.trials} trials, ${tally.failures.length} failures`);
      // Whether a reader encounters a replacement is a matter of chance.
      const places = fix.check === "reads" ? ["a reader"] : RUNTIMES;
      for (const place of places) {
        await caught.try(`${fix.name}: ${place}`, () => {
          const failure = tally.failures.find((failure) => {
            return fix.check === "reads" || failure.startsWith(place);
          });
          if (failure === undefined) throw new Error("its check does not notice");
          say(`  ${failure}`);
        });
      }
    }
    return { tally: caught, method: "a fix is taken out" };
  }

  /** Returns all combinations of client and runtime. */
  #everywhere(): [client: Client, runtime: GuestRuntime][] {
    return RUNTIMES.flatMap((runtime) => {
      return clients.map((client): [Client, GuestRuntime] => [client, runtime]);
    });
  }

  /** Creates a new directory on the share; returns its path. */
  #fresh(): string {
    // Both NFS versions mount the same directory.
    const dir = `/mnt/${this.#share}/${this.#share}-${this.#number++}`;
    this.#machines.run("a", `mkdir -m 777 ${dir}`);
    return dir;
  }

  /** Returns a process that executes commands, starting it on first use. */
  #peer(client: Client, runtime: GuestRuntime, role: "writer" | "reader" = "writer"): Peer {
    const key = `${client} ${runtime} ${role}`;
    const peer = this.#peers.get(key) ??
      new Peer(this.#start(client, runtime, WORKER, "obey", []), ANSWER_TIMEOUT_MS[role]);
    this.#peers.set(key, peer);
    return peer;
  }

  async #end(client: Client, runtime: GuestRuntime): Promise<void> {
    for (const role of ["writer", "reader"]) {
      const key = `${client} ${runtime} ${role}`;
      await this.#peers.get(key)?.end();
      this.#peers.delete(key);
    }
  }

  async #endAll(): Promise<void> {
    for (const [client, runtime] of this.#everywhere()) await this.#end(client, runtime);
  }

  #start(
    client: Client,
    runtime: GuestRuntime,
    worker: string,
    job: string,
    args: readonly (string | number)[],
  ): Child {
    return new Child(job, [...args], { worker: this.#machines.worker(client, runtime, worker) });
  }
}

/** A process that runs on a machine and executes commands one at a time. */
class Peer {
  readonly #child: Child;
  readonly #timeout: number;

  constructor(child: Child, timeout: number) {
    this.#child = child;
    this.#timeout = timeout;
  }

  /**
   * Returns the command's result. If the command failed, throws an error with the same code and
   * message.
   */
  // deno-lint-ignore no-explicit-any -- what the worker's commands return
  async ask(command: string, ...args: (string | number)[]): Promise<any> {
    this.#child.tell(JSON.stringify([command, ...args]));
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error(`${command}: no answer`)), this.#timeout);
    const line = await Promise.race([this.#child.line(), late]).finally(() => clearTimeout(timer));
    const { value, error } = JSON.parse(line);
    if (error !== undefined) throw new Error(error);
    return value;
  }

  async end(): Promise<void> {
    await this.#child.kill();
  }
}

/** Returns the message with which a promise rejects, or an empty string if it fulfills. */
async function failureOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => "", (error) => error.message);
}

/** Polls until the lock is free; returns how many milliseconds that took. */
async function waitUntilFree(asking: Peer, dir: string, most: number): Promise<number> {
  const started = performance.now();
  for (;;) {
    const answer = await asking.ask("try", dir);
    const ms = Math.round(performance.now() - started);
    if (answer === "free") return ms;
    if (ms > most) throw new Error(`after ${ms} ms the lock is not free: ${answer}`);
    await sleep(100);
  }
}

/** NFS 3 has no leases: a lock stays held until its holder's machine releases it. */
async function staysHeld(asking: Peer, dir: string): Promise<void> {
  await sleep(LEASE_MS);
  same(await asking.ask("try", dir), null);
}
