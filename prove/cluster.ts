import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { DirLock, isTempName, sweepTempFiles } from "../mod.ts";
import { Child } from "../tests/support/child.ts";
import { content, numberOf } from "../tests/support/content.ts";
import {
  apart,
  groundRuntimes,
  markdown,
  type ProveApart,
  roomFor,
  say,
  sh,
  sleep,
} from "./ground.ts";
import { type Part, root, type Row, type Runtime, same, Tally } from "./part.ts";

/**
 * Simulates several machines: GlusterFS with three bricks and two clients. Each client is in its
 * own network namespace.
 */
export const proveCluster: Part = apart("cluster", "Several machines share a directory", {
  commands: {
    glusterfsd: "glusterfs-server",
    glusterfs: "glusterfs-client",
    "mkfs.xfs": "xfsprogs",
    ip: "iproute2",
    nsenter: "util-linux",
  },
  devices: ["/dev/loop-control", "/dev/fuse"],
});

type Machine = "a" | "b";

/** How long a client waits for an unresponsive brick, in seconds; GlusterFS's default is 42. */
const PING_TIMEOUT = 10;

/** Bricks and clients on this machine. Each client's network link can be cut. */
class Cluster {
  readonly #base: string;
  readonly #bricks: ChildProcess[] = [];
  readonly #networks = new Map<Machine, ChildProcess>();
  readonly #clients = new Map<Machine, ChildProcess>();

  constructor(base: string) {
    this.#base = base;
  }

  /** The directory on which a machine mounts the volume. */
  mount(machine: Machine): string {
    return path.join(this.#base, machine);
  }

  async start(): Promise<void> {
    sh("truncate -s 4G $1/image; mkfs.xfs -q $1/image; mkdir $1/disk $1/a $1/b", this.#base);
    sh("mount -o loop $1/image $1/disk; ip link set lo up", this.#base);
    for (const machine of ["a", "b"] as const) {
      const network = spawn("unshare", ["--net", "sleep", "infinity"], { stdio: "ignore" });
      this.#networks.set(machine, network);
      await until(() => {
        const own = fs.readlinkSync("/proc/self/ns/net");
        return fs.readlinkSync(`/proc/${network.pid}/ns/net`) !== own;
      });
      const subnet = `10.77.${machine === "a" ? 1 : 2}`;
      sh(
        "ip link add to-$1 type veth peer name up-$1; ip link set up-$1 netns $2",
        machine,
        network.pid!,
      );
      sh("ip addr add $2.1/24 dev to-$1; ip link set to-$1 up", machine, subnet);
      sh(
        "nsenter -n -t $2 sh -ec 'ip link set lo up; ip addr add $1.2/24 dev up-$0; ip link set up-$0 up' $3 $1",
        subnet,
        network.pid!,
        machine,
      );
    }
    for (const brick of [0, 1, 2]) await this.startBrick(brick);
    for (const machine of ["a", "b"] as const) await this.startClient(machine);
  }

  async startBrick(brick: number): Promise<void> {
    const dir = path.join(this.#base, "disk", String(brick));
    fs.mkdirSync(dir, { recursive: true });
    const volume = path.join(this.#base, `brick-${brick}.vol`);
    fs.writeFileSync(volume, brickVolume(dir, port(brick)));
    const log = path.join(this.#base, `brick-${brick}.log`);
    this.#bricks[brick] = spawn("glusterfsd", ["-N", "-f", volume, "-l", log], { stdio: "ignore" });
    await until(async () => {
      (await Deno.connect({ port: port(brick) })).close();
      return true;
    });
  }

  async killBrick(brick: number, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#bricks[brick]!.kill(signal);
    if (signal === "SIGKILL") await until(() => this.#bricks[brick]!.signalCode !== null);
  }

  async startClient(machine: Machine, ...options: string[]): Promise<void> {
    const volume = path.join(this.#base, `client-${machine}.vol`);
    fs.writeFileSync(volume, clientVolume(`10.77.${machine === "a" ? 1 : 2}.1`));
    const client = spawn("nsenter", [
      ...["-n", "-t", String(this.#networks.get(machine)!.pid), "glusterfs", "-N"],
      ...["-f", volume, "-l", path.join(this.#base, `client-${machine}.log`)],
      ...[...options, this.mount(machine)],
    ], { stdio: "ignore" });
    this.#clients.set(machine, client);
    const probe = path.join(this.mount(machine), `.probe-${machine}`);
    await until(() => {
      sh("mountpoint -q $1 && touch $2 && rm $2", this.mount(machine), probe);
      return true;
    });
  }

  /** Kills a machine, even if it holds locks. */
  async killClient(machine: Machine): Promise<void> {
    const client = this.#clients.get(machine)!;
    client.kill("SIGKILL");
    await until(() => client.signalCode !== null);
    sh("umount -l $1", this.mount(machine));
  }

  /** Disconnects a machine from the network, or reconnects it. */
  setCable(machine: Machine, state: "up" | "down"): void {
    sh("ip link set to-$1 $2", machine, state);
  }

  async stop(): Promise<void> {
    for (const machine of ["a", "b"] as const) sh("umount -l $1 || true", this.mount(machine));
    const all = [...this.#clients.values(), ...this.#bricks, ...this.#networks.values()];
    for (const child of all) child.kill("SIGKILL");
    await until(() =>
      all.every(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null)
    );
    // Unmount lazily, because the kernel may still hold the clients' files open.
    sh("umount -l $1/disk", this.#base);
  }
}

export const prove: ProveApart = async ({ short }) => {
  const runtimes = await groundRuntimes();
  const base = roomFor(2 ** 30, "prove-cluster-");
  const cluster = new Cluster(base);
  try {
    await cluster.start();
    return await proveAll(cluster, runtimes, short);
  } finally {
    await cluster.stop();
    sh("rm -rf --one-file-system $1", base);
  }
};

async function proveAll(cluster: Cluster, runtimes: Runtime[], short: boolean): Promise<Row[]> {
  const rows: Row[] = [];
  const machines = ["a", "b"] as const;
  let number = 0;
  /** Creates a directory and returns its path on each machine. */
  const fresh = (): Record<Machine, string> => {
    const name = String(number++);
    fs.mkdirSync(path.join(cluster.mount("a"), name));
    return { a: path.join(cluster.mount("a"), name), b: path.join(cluster.mount("b"), name) };
  };
  /** Starts a process, cycling through the machines and runtimes. */
  const start = (i: number, job: string, args: (machine: Machine) => (string | number)[]) => {
    const machine = machines[i % 2]!;
    return new Child(job, args(machine), runtimes[(i >> 1) % runtimes.length]!.options);
  };

  const contend = async (shared: number, how: string, time: number, into: Tally) => {
    const dir = fresh();
    const children = [0, 1, 2, 3, 4, 5].map((i) => {
      return start(i, "contend", (machine) => [dir[machine], time, shared, i, how]);
    });
    const turns: number[] = [];
    let longest = 0;
    await Promise.all(children.map(async (child, i) => {
      for (;;) {
        const line = await child.line();
        if (line.startsWith("overlap")) into.failures.push(line);
        else {
          const [, count, wait] = line.split(" ");
          turns[i] = Number(count);
          longest = Math.max(longest, Number(wait));
          break;
        }
      }
      same(await child.exit(), 0);
    })).catch((error) => into.failures.push(error.message));
    into.trials += turns.reduce((sum, n) => sum + n, 0);
    return `turns ${Math.min(...turns)} to ${Math.max(...turns)}, longest wait ${longest} ms`;
  };
  const time = short ? 2_000 : 10_000;
  for (const shared of [0, 4]) {
    const tally = new Tally();
    const method = await contend(shared, "flock", time, tally);
    const mixed = shared > 0 ? ", three quarters of turns shared" : "";
    rows.push(tally.row(`Two machines${mixed}: never two holders`, `GlusterFS; ${method}`));
    say(`contention${mixed}: ${method}`);
  }

  const counted = new Tally();
  let staleReads = "";
  const times = short ? 20 : 100;
  for (const job of ["update", "countInPlace"]) {
    await counted.try(job, async () => {
      const dir = fresh();
      const file = path.join(dir.a, "counter");
      fs.writeFileSync(file, job === "update" ? content(0, 999) : "0");
      const children = [0, 1, 2, 3, 4, 5].map((i) => {
        return start(i, job, (machine) => [
          job === "update" ? path.join(dir[machine], "counter") : dir[machine],
          times,
        ]);
      });
      const reader = job === "update"
        ? start(3, "read", () => [path.join(dir.b, "counter")])
        : undefined;
      const said = await Promise.all(children.map((child) => child.line()));
      await Promise.all(children.map((child) => child.exit()));
      for (const line of said) same(line, job === "update" ? "failed 0 " : "counted");
      if (reader !== undefined) {
        await reader.says("reading");
        reader.tell();
        const line = await reader.line();
        const [, reads, stale] = /^reads (\d+) (\d+)$/.exec(line) ?? [];
        if (reads === undefined) throw new Error(line);
        counted.trials += Number(reads);
        staleReads = `; ${stale} of ${Number(reads) + Number(stale)} concurrent reads ESTALE`;
        same(await reader.exit(), 0);
      }
      const found = fs.readFileSync(file);
      same(job === "update" ? numberOf(found) : Number(found.toString()), 6 * times);
    });
    counted.trials += 6 * times;
  }
  rows.push(counted.row(
    "Two machines lose no update and never read a torn file",
    `six processes, atomicUpdate and handwritten updates under the lock${staleReads}`,
  ));
  say(`counters: ${counted.failures.length} failures${staleReads}`);

  const demo = new Tally();
  await demo.try("demo", () => runDemo(fresh(), runtimes, short ? 100 : 200, demo));
  rows.push(
    demo.row("Two machines share a cache", "the demo, with half of its workers on each machine"),
  );
  say("demo");

  const freed = new Tally();
  const waits: Record<string, number[]> = { process: [], client: [], cable: [] };
  const ends = short ? ["process", "client"] : [
    ...Array(5).fill("process"),
    ...Array(5).fill("client"),
    "cable",
  ];
  for (const [i, how] of ends.entries()) {
    await freed.try(`${how} ${i}`, async () => {
      const dir = fresh();
      const holder = start((i << 1) + 1, "hold", (machine) => [dir[machine]]);
      await holder.says("held");
      same(await DirLock.tryAcquire(dir.a), null);
      const started = performance.now();
      if (how === "process") holder.process.kill("SIGKILL");
      else if (how === "client") await cluster.killClient("b");
      else cluster.setCable("b", "down");
      try {
        (await DirLock.acquire(dir.a, { timeout: 120_000 })).release();
        waits[how]!.push(performance.now() - started);
        if (how === "cable") {
          cluster.setCable("b", "up");
          await sleep(2_000 * PING_TIMEOUT);
          holder.tell();
          say(
            `the holder whose cable was pulled says: ${await holder.line().catch((e) =>
              e.message
            )}`,
          );
        }
      } finally {
        if (how === "cable") cluster.setCable("b", "up");
        await holder.kill();
        if (how === "client") await cluster.startClient("b");
      }
    });
  }
  const longest = Object.entries(waits).filter(([, all]) => all.length > 0)
    .map(([how, all]) => `${how} ${(Math.max(...all) / 1000).toFixed(2)} s`).join(", ");
  rows.push(freed.row("A dead machine's lock is freed", `after at most: ${longest}`));
  say(`freed: ${longest}`);

  const bricks = new Tally();
  await bricks.try("a brick killed and brought back", async () => {
    for (const brick of short ? [0] : [0, 1, 2]) {
      const dir = fresh();
      const file = path.join(dir.a, "counter");
      const rounds = short ? 30 : 100;
      const children = [0, 1, 2, 3].map((i) => {
        return start(i, "update", (machine) => [path.join(dir[machine], "counter"), rounds]);
      });
      await until(() => fs.existsSync(file) && numberOf(fs.readFileSync(file)) > 4);
      await cluster.killBrick(brick);
      const before = numberOf(fs.readFileSync(file));
      await until(() => numberOf(fs.readFileSync(file)) > before + 4);
      await cluster.startBrick(brick);
      const said = await Promise.all(children.map((child) => child.line()));
      await Promise.all(children.map((child) => child.exit()));
      for (const line of said) same(line, "failed 0 ");
      for (const machine of machines) {
        same(numberOf(fs.readFileSync(path.join(dir[machine], "counter"))), 4 * rounds);
      }
      bricks.trials += 4 * rounds;
      // Kill the next brick only after this one has caught up.
      await until(() => healed(cluster, dir));
    }
  });
  rows.push(
    bricks.row("No update is lost when a brick is killed and restarted", "SIGKILL while updating"),
  );
  say(`bricks: ${bricks.failures}`);

  const gone = new Tally();
  let codes = "";
  await gone.try("two of three bricks gone", async () => {
    const dir = fresh();
    const file = path.join(dir.a, "file");
    const writers = machines.map((machine, i) => {
      return start(i, "writeWhenTold", () => [path.join(dir[machine], "file")]);
    });
    const tell = async () => {
      const said: string[] = [];
      for (const writer of writers) {
        writer.tell();
        said.push(await writer.line());
      }
      return said;
    };
    for (const writer of writers) await writer.says("ready");
    for (const line of await tell()) same(line.split(" ")[0], "written");
    const last = numberOf(fs.readFileSync(file));
    await cluster.killBrick(0);
    await cluster.killBrick(1);
    const refused = await tell();
    codes = refused.join(", ");
    for (const line of refused) {
      if (!/^(ENOTCONN|EROFS|EIO|EHOSTDOWN)\b/.test(line)) throw new Error(`it said ${line}`);
    }
    await cluster.startBrick(0);
    await cluster.startBrick(1);
    await until(() => (fs.readdirSync(dir.a), numberOf(fs.readFileSync(file)) === last));
    await sleep(3_000);
    for (const line of await tell()) same(line.split(" ")[0], "written");
    for (const machine of machines) numberOf(fs.readFileSync(path.join(dir[machine], "file")));
    await sweepTempFiles(dir.a, { olderThan: 0 });
    same(fs.readdirSync(dir.a).filter(isTempName), []);
    for (const writer of writers) await writer.kill();
  });
  rows.push(
    gone.row("Without a majority of bricks, writes fail and no file is torn", `codes ${codes}`),
  );
  say(`two gone: ${codes} ${gone.failures}`);

  if (!short) {
    const dir = fresh();
    const writer = start(0, "writeWhenTold", () => [path.join(dir.a, "file")]);
    await writer.says("ready");
    await cluster.killBrick(2, "SIGSTOP");
    writer.tell();
    say(`a brick that hangs, ping-timeout ${PING_TIMEOUT} s: ${await writer.line()} ms`);
    await cluster.killBrick(2, "SIGCONT");
    await writer.kill();
  }

  const caught = new Tally();
  let overlaps = "";
  await caught.try("a lock by existence", async () => {
    const inner = new Tally();
    await contend(0, "existence", time, inner);
    const seen = inner.failures.filter((failure) => failure.startsWith("overlap")).length;
    overlaps = `${seen} overlaps in ${inner.trials} turns`;
    if (seen === 0) throw new Error("no overlap was seen");
  });
  rows.push(caught.row("A lock based on file existence fails this check", overlaps));
  say(`by existence: ${overlaps}`);

  const local = roomFor(2 ** 20, "prove-cluster-local-");
  const lines: string[][] = [];
  for (const { name, options } of runtimes) {
    const found: Record<string, [number, number]>[] = [];
    for (const dir of [local, fresh().a]) {
      const child = new Child("measure", [dir, short ? 20 : 300], options);
      found.push(JSON.parse(await child.line()));
      await child.exit();
    }
    for (const operation of Object.keys(found[0]!)) {
      const cells = found.map((of) => of[operation]!.map((ms) => ms.toFixed(2)).join(" / "));
      lines.push([name, operation, ...cells]);
    }
  }
  fs.rmSync(local, { recursive: true });
  console.error(markdown(["runtime", "operation", "tmpfs, ms", "cluster, ms"], lines));
  return rows;
}

/** Runs the repository's demo with half of its workers on each of the two machines. */
async function runDemo(
  dir: Record<Machine, string>,
  runtimes: readonly Runtime[],
  requests: number,
  tally: Tally,
): Promise<void> {
  const list = path.join(path.dirname(dir.a), "files.json");
  const files = ["prove", "tests", "runtime"].flatMap((name) => {
    return fs.readdirSync(path.join(root, name), { withFileTypes: true })
      .filter((entry) => entry.isFile()).map((entry) => path.join(root, name, entry.name));
  });
  fs.writeFileSync(list, JSON.stringify(files));
  const script = `${root}examples/shared_cache_worker.mjs`;
  const seen = await Promise.all(Array.from({ length: 8 }, (_, i) => {
    const runtime = runtimes[(i >> 1) % runtimes.length]!;
    const command = runtime.options.worker!.slice(0, -1);
    const library = runtime.name === "Node" ? "npm_test/esm/mod.js" : "mod.ts";
    const args = [script, `${root}${library}`, dir[i % 2 === 0 ? "a" : "b"], list, requests];
    const child = spawn(command[0]!, [...command.slice(1), ...args.map(String)]);
    return new Promise<{ computed: string[]; uses: number; torn: number; requests: number }>(
      (resolve, reject) => {
        let output = "";
        let errors = "";
        child.stdout.on("data", (chunk) => output += chunk);
        child.stderr.on("data", (chunk) => errors += chunk);
        child.once("close", (code) => {
          if (code !== 0) return reject(new Error(`a worker ended with ${code}: ${errors}`));
          resolve(JSON.parse(output.trim().split("\n").at(-1)!).stats);
        });
      },
    );
  }));
  const computed = seen.flatMap((stats) => stats.computed);
  same(computed.length, new Set(computed).size);
  const sum = (of: "uses" | "torn" | "requests") => seen.reduce((all, stats) => all + stats[of], 0);
  same(sum("torn"), 0);
  let uses = 0;
  for (const part of fs.readdirSync(dir.b)) {
    for (const name of fs.readdirSync(path.join(dir.b, part))) {
      if (!name.endsWith(".json")) continue;
      uses += JSON.parse(fs.readFileSync(path.join(dir.b, part, name), "utf8")).uses;
    }
  }
  same(uses, sum("uses"));
  tally.trials += sum("requests");
}

/**
 * Whether all bricks agree on a directory's files. Reads the files first, because that makes the
 * clients repair differences.
 */
function healed(cluster: Cluster, dir: Record<Machine, string>): boolean {
  sh("cd $1; ls -la . >/dev/null; cat ./* >/dev/null", dir.a);
  const disk = path.join(cluster.mount("a"), "..", "disk");
  const sums = [0, 1, 2].map((brick) => {
    return sh(
      "cd $1; find . -type f | sort | xargs md5sum",
      `${disk}/${brick}/${path.basename(dir.a)}`,
    );
  });
  return sums.every((sum) => sum === sums[0]);
}

/**
 * Waits until a condition holds. Errors that the condition throws before the time limit are
 * ignored.
 */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  for (;;) {
    try {
      if (await holds()) return;
      if (performance.now() > end) throw new Error(`never: ${holds}`);
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await sleep(50);
  }
}

function port(brick: number): number {
  return 24_101 + brick;
}

function brickVolume(dir: string, port: number): string {
  return `
volume posix
  type storage/posix
  option directory ${dir}
end-volume
volume locks
  type features/locks
  subvolumes posix
end-volume
volume brick
  type performance/io-threads
  subvolumes locks
end-volume
volume server
  type protocol/server
  option transport-type tcp
  option transport.address-family inet
  option transport.socket.listen-port ${port}
  option auth.addr.brick.allow *
  subvolumes brick
end-volume
`;
}

function clientVolume(host: string): string {
  const bricks = [0, 1, 2].map((brick) => `
volume client-${brick}
  type protocol/client
  option transport-type tcp
  option transport.address-family inet
  option remote-host ${host}
  option remote-port ${port(brick)}
  option remote-subvolume brick
  option ping-timeout ${PING_TIMEOUT}
end-volume
`);
  return `${bricks.join("")}
volume replicated
  type cluster/replicate
  option afr-pending-xattr client-0,client-1,client-2
  option quorum-type auto
  option data-self-heal on
  option metadata-self-heal on
  option entry-self-heal on
  subvolumes client-0 client-1 client-2
end-volume
`;
}
