import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";

/** How a program under Wine ended. */
export interface Ended {
  /** The exit code; undefined if the program timed out and was killed. */
  readonly code: number | undefined;
  readonly output: string;
}

/**
 * Wine 10 from Debian 13, run in a chroot because Wine 8 from Debian 12 cannot start Deno or Bun.
 * Requires root and debootstrap.
 */
export class Wine {
  /** The directory on this machine that appears as `Z:\w` in Wine. */
  readonly work: string;
  readonly #root: string;
  readonly #isTemporary: boolean;
  readonly #mounts: string[] = [];
  readonly #env: Record<string, string>;

  /**
   * Installs Debian with Wine in `root`, or reuses an existing installation there. The installation
   * is kept for the next run. `env` is the environment of the Windows programs.
   */
  constructor(root: string | undefined, env: Record<string, string>) {
    this.#isTemporary = root === undefined;
    this.#root = root ?? fs.mkdtempSync(path.join(os.tmpdir(), "aperture-wine-"));
    this.work = fs.mkdtempSync(path.join(os.tmpdir(), "aperture-wine-work-"));
    this.#env = {
      HOME: "/root",
      PATH: "/usr/bin:/bin",
      LANG: "C.UTF-8",
      XDG_RUNTIME_DIR: "/tmp",
      WINEPREFIX: "/w/prefix",
      WINEDEBUG: "-all",
      WINEPATH: String.raw`Z:\w\bin`,
      NO_COLOR: "1",
      ...env,
    };
    const isBuilt = fs.existsSync(`${this.#root}/usr/share/doc/wine`);
    if (!isBuilt) must("debootstrap", "--variant=minbase", "trixie", this.#root, ...mirror());
    this.#mount("proc", "proc", "-t", "proc");
    if (!isBuilt) {
      const install = ["apt-get", "install", "-qy", "--no-install-recommends", "wine", "wine64"];
      must("chroot", this.#root, "env", "DEBIAN_FRONTEND=noninteractive", ...install);
    }
    fs.mkdirSync(`${this.#root}/w`, { recursive: true });
    this.#mount(this.work, "w", "--bind");
  }

  /** Creates Wine's registry and drives. */
  boot(): void {
    // Two volumes whose files have the same file IDs. Wine reads a volume's serial number from the
    // file `.windows-serial`.
    const drives = ["g", "h"] as const;
    for (const drive of drives) {
      fs.mkdirSync(`${this.work}/${drive}`);
      this.#mount("tmpfs", `w/${drive}`, "-t", "tmpfs", "-o", "size=1m");
      const number = Math.floor(Math.random() * 2 ** 32).toString(16).toUpperCase();
      fs.writeFileSync(`${this.work}/${drive}/.windows-serial`, `${number.padStart(8, "0")}\n`);
    }
    this.#inside(["wineboot", "--init"]);
    for (const drive of drives) {
      fs.symlinkSync(`/w/${drive}`, `${this.work}/prefix/dosdevices/${drive}:`);
    }
    this.#inside(["wineserver", "-w"]); // Drives are found when Wine starts.
    this.#keepRunning();
  }

  /** Runs a Windows program in a directory, with a timeout in seconds. */
  run(program: string, args: readonly string[], cwd: string, seconds: number): Ended {
    const log = path.join(this.work, "log");
    const shell = ["bash", "-c", 'cd "$0" && exec "$@"', cwd, "wine", program, ...args];
    // Redirect output to a file, because node.exe cannot use a Unix pipe as its standard output.
    const output = fs.openSync(log, "w");
    const command = ["timeout", "--kill-after=5", String(seconds), ...shell];
    const { status, signal } = this.#inside(command, output);
    fs.closeSync(output);
    // On a timeout, timeout(1) exits with 124. If the program ignores the first signal, the second
    // one kills timeout(1) as well.
    const isLate = status === 124 || status === 137 || signal === "SIGKILL";
    if (isLate) this.restart(); // Otherwise, the program's child processes would keep running.
    return { code: isLate ? undefined : status ?? 1, output: fs.readFileSync(log, "utf8") };
  }

  /** Kills all Windows programs and restarts Wine. */
  restart(): void {
    this.#stop();
    this.#keepRunning();
  }

  /** Kills all programs and removes temporary files. */
  remove(): void {
    this.#stop();
    this.#killRest();
    for (const mount of this.#mounts.reverse()) {
      if (spawnSync("umount", [mount]).status !== 0) spawnSync("umount", ["-l", mount]);
    }
    const temporary = this.#isTemporary ? [this.work, this.#root] : [this.work];
    // Do not delete files through a mount that still exists.
    spawnSync("rm", ["-rf", "--one-file-system", ...temporary]);
  }

  #mount(device: string, at: string, ...options: string[]): void {
    must("mount", ...options, device, `${this.#root}/${at}`);
    this.#mounts.push(`${this.#root}/${at}`);
  }

  /**
   * Starts a shell that waits for input. Otherwise, Wine's services would exit after each program,
   * and restarting them takes seconds.
   */
  #keepRunning(): void {
    spawn("chroot", this.#command(["wine", "cmd"]), { stdio: ["pipe", "ignore", "ignore"] });
  }

  #stop(): void {
    this.#inside(["wineserver", "-k"]);
    this.#inside(["timeout", "10", "wineserver", "-w"]);
  }

  #inside(command: readonly string[], output: number | "ignore" = "ignore") {
    return spawnSync("chroot", this.#command(command), { stdio: ["ignore", output, output] });
  }

  #command(command: readonly string[]): string[] {
    const env = Object.entries(this.#env).map(([name, value]) => `${name}=${value}`);
    return [this.#root, "env", "-i", ...env, ...command];
  }

  /**
   * Kills programs left behind by a crashed Wine server, identifying them by their root directory.
   */
  #killRest(): void {
    for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      try {
        if (fs.readlinkSync(`/proc/${pid}/root`) === this.#root) {
          process.kill(Number(pid), "SIGKILL");
        }
      } catch {
        // The process has already exited.
      }
    }
  }
}

/** Returns the Debian mirror configured on this machine, if any. */
function mirror(): string[] {
  const files = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
  const texts = files.filter((file) => fs.existsSync(file)).map((file) =>
    fs.readFileSync(file, "utf8")
  );
  const found = /^(?:URIs:|deb(?: \[.*\])?) *(\S+\/debian\/?)(?=\s|$)/m.exec(texts.join("\n"));
  return found === null ? [] : [found[1]!];
}

function must(command: string, ...args: string[]): void {
  const { status, stdout, stderr } = spawnSync(command, args, { maxBuffer: 2 ** 28 });
  if (status === 0) return;
  throw new Error(`${command} ${args.join(" ")}: ${`${stdout}${stderr}`.slice(-2_000)}`);
}
