import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createConnection } from "node:net";
import * as os from "node:os";
import { sleep } from "../ground.ts";
import { broken, type Edit, root } from "../part.ts";
import { libraryTree, TREE } from "./tree.ts";

/** A machine: the server or one of the two clients. */
export type Machine = "server" | "a" | "b";

/** The clients. */
export const clients = ["a", "b"] as const;

export type Client = typeof clients[number];

/** A way to mount the server's share. */
export type Share = "nfs42" | "nfs3" | "smb";

/** A runtime installed on the machines. */
export type GuestRuntime = "deno" | "node" | "bun";

/** The loopback port that is forwarded to each machine's ssh port. */
const SSH_PORTS: Readonly<Record<Machine, number>> = { server: 2210, a: 2211, b: 2212 };

/**
 * Each machine's network cards, apart from the one for ssh. The server has a separate link to each
 * client.
 */
const CARDS: Readonly<Record<Machine, readonly { wire: string; ip: string; mac: string }[]>> = {
  server: [
    { wire: "listen=127.0.0.1:2221", ip: "10.0.1.1", mac: "52:54:00:00:01:01" },
    { wire: "listen=127.0.0.1:2222", ip: "10.0.2.1", mac: "52:54:00:00:02:01" },
  ],
  a: [{ wire: "connect=127.0.0.1:2221", ip: "10.0.1.2", mac: "52:54:00:00:01:02" }],
  b: [{ wire: "connect=127.0.0.1:2222", ip: "10.0.2.2", mac: "52:54:00:00:02:02" }],
};

/**
 * The number of virtual processors per machine. On a computer with few processors, two virtual
 * processors per machine would waste time slices waiting for each other. Under load, the machines'
 * kernels would stall.
 */
const CPUS = os.availableParallelism() < 6 ? 1 : 2;

/** How long a machine may take to boot, in milliseconds. On an idle computer it takes 35 s. */
const BOOT_TIMEOUT_MS = 600_000;

/**
 * Three virtual machines that run under QEMU's software emulation and are connected by loopback
 * sockets. Run the machines in a private network namespace, since the ports are fixed.
 */
export class Machines {
  readonly #image: string;
  readonly #state: string;
  readonly #processes = new Map<Machine, ChildProcess>();
  /**
   * One ssh connection to each machine, shared by all commands, because opening a connection takes
   * a second.
   */
  readonly #connections = new Map<Machine, ChildProcess>();

  /** `image` is a directory populated by image.sh; `state` holds sockets and logs. */
  constructor(image: string, state: string) {
    this.#image = image;
    this.#state = state;
  }

  /** Boots all machines, starts the servers and copies the library. */
  async start(): Promise<void> {
    for (const machine of ["server", ...clients] as const) {
      this.#boot(machine);
      await sleep(1_000); // The server listens for the clients' connections.
    }
    await Promise.all((["server", ...clients] as const).map((machine) => this.#ready(machine)));
    this.run("server", "/opt/guest/serve");
    for (const client of clients) this.#copyLibrary(client);
  }

  /** Mounts a share on a client. */
  mount(client: Machine, share: Share): void {
    this.run(client, `/opt/guest/mount-share ${share}`);
  }

  /** Boots a machine again after {@linkcode kill}. */
  async restart(client: Machine): Promise<void> {
    this.#boot(client);
    await this.#ready(client);
    this.#copyLibrary(client);
  }

  /** Cuts a machine's power. */
  async kill(machine: Machine): Promise<void> {
    const child = this.#processes.get(machine);
    if (child === undefined) return;
    child.kill("SIGKILL");
    while (child.exitCode === null && child.signalCode === null) await sleep(20);
    this.#processes.delete(machine);
    this.#connections.get(machine)?.kill("SIGKILL");
    fs.rmSync(`${this.#state}/${machine}.ssh`, { force: true });
  }

  /** Disconnects a client from the network, or reconnects it. */
  async setCable(client: Machine, state: "up" | "down"): Promise<void> {
    const socket = createConnection(`${this.#state}/${client}.qmp`);
    const answer = new Promise<string>((resolve, reject) => {
      let text = "";
      socket.on("error", reject);
      socket.on("data", (chunk) => {
        text += chunk;
        if (text.split('"return"').length > 2 || text.includes('"error"')) resolve(text);
      });
    });
    const commands = [
      { execute: "qmp_capabilities" },
      { execute: "set_link", arguments: { name: "eth1", up: state === "up" } },
    ];
    for (const command of commands) socket.write(`${JSON.stringify(command)}\n`);
    const text = await answer;
    socket.destroy();
    if (text.includes('"error"')) throw new Error(`set_link: ${text}`);
  }

  /** Runs a shell command on a machine and returns its output; throws if the command fails. */
  run(machine: Machine, script: string, input?: Uint8Array): string {
    const [file, ...args] = this.#ssh(machine);
    const { status, stdout, stderr } = spawnSync(file!, [...args, script], {
      input,
      timeout: 600_000,
      maxBuffer: 2 ** 28,
    });
    if (status !== 0) throw new Error(`${machine}: ${script}: ${status} ${stderr}`);
    return String(stdout).trim();
  }

  /** Applies edits that break the library on both clients, runs `fn`, and undoes the edits. */
  async broken<T>(edit: Edit, fn: () => Promise<T>): Promise<T> {
    const compiled = { ...edit, file: `npm_test/esm/${edit.file.replace(/ts$/, "js")}` };
    const edits = [edit, compiled];
    const write = (file: string, text: string) => {
      const bytes = new TextEncoder().encode(text);
      for (const client of clients) this.run(client, `cat > ${TREE}/${file}`, bytes);
    };
    for (const one of edits) write(one.file, broken(root, one));
    try {
      return await fn();
    } finally {
      for (const { file } of edits) write(file, fs.readFileSync(root + file, "utf8"));
    }
  }

  /** Returns the command that runs a worker on a machine, for `Child`. */
  worker(machine: Machine, runtime: GuestRuntime, worker: string): string[] {
    return [...this.#ssh(machine), `/opt/guest/run ${runtime} ${worker}`];
  }

  /** Kills all machines. */
  async stop(): Promise<void> {
    for (const machine of ["a", "b", "server"] as const) await this.kill(machine);
  }

  #ssh(machine: Machine): string[] {
    const options = {
      StrictHostKeyChecking: "no",
      UserKnownHostsFile: "/dev/null",
      ConnectTimeout: "60",
      // On a busy computer, a machine may not respond for minutes.
      ServerAliveInterval: "20",
      ServerAliveCountMax: "15",
    };
    return [
      "ssh",
      "-q",
      ...["-i", `${this.#image}/id`, "-p", String(SSH_PORTS[machine])],
      ...["-S", `${this.#state}/${machine}.ssh`],
      ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]),
      "root@127.0.0.1",
    ];
  }

  #boot(machine: Machine): void {
    const kernel = fs.readdirSync(`${this.#image}/kernel/boot`)
      .find((name) => name.startsWith("vmlinuz-"));
    const cards = CARDS[machine];
    const ips = cards.map(({ ip }, i) => `eth${i + 1}=${ip}/24`).join(",");
    const user = "user,id=n0,restrict=on,net=10.0.99.0/24,dhcpstart=10.0.99.15";
    const forward = `hostfwd=tcp:127.0.0.1:${SSH_PORTS[machine]}-10.0.99.15:22`;
    const ownMac = `52:54:00:00:00:0${SSH_PORTS[machine] - 2_209}`;
    const log = fs.openSync(`${this.#state}/${machine}.qemu`, "a");
    const child = spawn("qemu-system-x86_64", [
      ...["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", String(CPUS), "-m", "2G"],
      ...["-nodefaults", "-display", "none", "-no-reboot"],
      ...["-serial", `file:${this.#state}/${machine}.log`],
      ...["-qmp", `unix:${this.#state}/${machine}.qmp,server=on,wait=off`],
      ...["-kernel", `${this.#image}/kernel/boot/${kernel}`],
      ...["-initrd", `${this.#image}/initrd.gz`],
      "-append",
      `console=ttyS0 quiet panic=-1 mitigations=off vm.host=${machine} vm.ips=${ips}`,
      ...["-drive", `file=${this.#image}/root.img,format=raw,if=virtio,snapshot=on`],
      ...["-netdev", `${user},${forward}`],
      ...["-device", `virtio-net-pci,netdev=n0,id=eth0,mac=${ownMac}`],
      ...cards.flatMap(({ wire, mac }, i) => [
        ...["-netdev", `socket,id=n${i + 1},${wire}`],
        ...["-device", `virtio-net-pci,netdev=n${i + 1},id=eth${i + 1},mac=${mac}`],
      ]),
    ], { stdio: ["ignore", log, log] });
    fs.closeSync(log);
    this.#processes.set(machine, child);
  }

  async #ready(machine: Machine): Promise<void> {
    const end = performance.now() + BOOT_TIMEOUT_MS;
    for (;;) {
      try {
        this.run(machine, "true");
        break;
      } catch (error) {
        if (this.#processes.get(machine)?.exitCode !== null || performance.now() > end) throw error;
        await sleep(1_000);
      }
    }
    const [file, ...args] = this.#ssh(machine);
    this.#connections.set(machine, spawn(file!, ["-M", "-N", ...args], { stdio: "ignore" }));
  }

  #copyLibrary(client: Machine): void {
    for (const { into, archive } of libraryTree()) {
      this.run(client, `mkdir -p ${into} && tar -x -C ${into}`, archive);
    }
  }
}
