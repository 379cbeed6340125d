import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { DirLock, isTempName, LOCK_FILE_NAME } from "../mod.ts";
import { Child, type ChildOptions } from "../tests/support/child.ts";
import { content, numberOf } from "../tests/support/content.ts";
import { apart, groundRuntimes, type ProveApart, roomFor, say, sh, sleep } from "./ground.ts";
import { type Part, type Row, type Runtime, same, Tally } from "./part.ts";

/**
 * Tests common deployment environments: image layers, namespaces, files that are mount points, and
 * tight memory limits.
 */
export const proveContainers: Part = apart("containers", "Containers", {
  commands: { unshare: "util-linux", setpriv: "util-linux", "mkfs.xfs": "xfsprogs" },
  devices: ["/dev/loop-control"],
});

/** A worker's report on a write. */
interface Outcome {
  readonly name?: string;
  readonly message?: string;
  readonly code?: string;
  readonly step?: string;
  readonly replaced?: boolean;
}

const forms = ["async", "sync", "stream"];

export const prove: ProveApart = async ({ short }) => {
  const runtimes = await groundRuntimes();
  const base = roomFor(2 ** 30, "prove-containers-");
  fs.chmodSync(base, 0o755);
  try {
    const rows: Row[] = [];
    for (const part of [layers, processes, mounts, users, groups, memory]) {
      rows.push(...await part(base, runtimes, short));
      say(`${part.name}: ${rows.at(-1)!.failures.length} failures`);
    }
    return rows;
  } finally {
    sh("cd /; findmnt -rno TARGET | grep -F $1 | sort -r | xargs -r -n1 umount -l", base);
    fs.rmSync(base, { recursive: true });
  }
};

/** Makes a worker write once. The commands in `shell` create the worker's container. */
async function write(
  { options }: Runtime,
  args: readonly [file: string, form: string, options: object],
  more: ChildOptions = {},
): Promise<Outcome> {
  const [file, form, written] = args;
  const child = new Child("writeOnce", [file, form, JSON.stringify(written)], {
    ...options,
    ...more,
  });
  const line = await child.line();
  same(await child.exit(), 0);
  return JSON.parse(line);
}

/**
 * overlayfs: files from the image and new files, with both layers on the same file system or on
 * different ones.
 */
async function layers(base: string, runtimes: Runtime[], short: boolean): Promise<Row[]> {
  const [written, locked] = [new Tally(), new Tally()];
  sh("truncate -s 512M $1/lower.img; mkfs.xfs -q $1/lower.img; mkdir $1/lower", base);
  sh("mount -o loop $1/lower.img $1/lower", base);
  let number = 0;
  for (const apart of [false, true]) {
    for (const copyUp of [true, false]) {
      const name = `${apart ? "two file systems" : "one file system"}, ${
        copyUp ? "" : "no "
      }copy-up`;
      const lower = path.join(base, apart ? "lower" : "", `image-${number}`);
      const [changes, merged] = [path.join(base, `up-${number}`), path.join(base, `m-${number++}`)];
      for (const dir of ["", "/dir"]) fs.mkdirSync(lower + dir);
      for (const dir of ["", "/upper", "/work"]) fs.mkdirSync(changes + dir);
      fs.mkdirSync(merged);
      if (copyUp) {
        fs.writeFileSync(`${lower}/dir/file`, content(1, 5_000));
        fs.chmodSync(`${lower}/dir/file`, 0o640);
        fs.chownSync(`${lower}/dir/file`, 1234, 1234);
        fs.writeFileSync(`${lower}/dir/${LOCK_FILE_NAME}`, "");
        fs.writeFileSync(`${lower}/dir/counter`, content(0, 999));
      }
      sh(
        "mount -t overlay overlay -o lowerdir=$1,upperdir=$2/upper,workdir=$2/work,xino=off $3",
        lower,
        changes,
        merged,
      );
      const dir = `${merged}/dir`;
      await locked.try(name, async () => {
        const times = short ? 20 : 200;
        const children = [0, 1, 2, 3].map((i) => {
          const { options } = runtimes[i % runtimes.length]!;
          return new Child("update", [`${dir}/counter`, times], options);
        });
        for (const child of children) await child.says("failed 0 ");
        same(numberOf(fs.readFileSync(`${dir}/counter`)), 4 * times);
        const contenders = [0, 1, 2, 3].map((i) => {
          const { options } = runtimes[i % runtimes.length]!;
          return new Child("contend", [dir, short ? 300 : 3_000, 4, i, "flock"], options);
        });
        for (const child of contenders) {
          const line = await child.line();
          if (!line.startsWith("turns")) throw new Error(line);
          locked.trials += Number(line.split(" ")[1]);
        }
        locked.trials += 4 * times;
      });
      for (const runtime of runtimes) {
        for (const form of forms) {
          for (const durability of ["none", "consistent", "durable"]) {
            await written.try(`${name}, ${runtime.name}, ${form}, ${durability}`, async () => {
              same(await write(runtime, [`${dir}/file`, form, { durability }]), {});
              same(numberOf(fs.readFileSync(`${dir}/file`)), 2);
              const { mode, uid } = fs.statSync(`${dir}/file`);
              if (copyUp) same([mode & 0o777, uid], [0o640, 1234]);
              same(fs.readdirSync(dir).filter(isTempName), []);
              same(
                (await write(runtime, [`${dir}/file`, form, { createNew: true }])).code,
                "EEXIST",
              );
            });
          }
        }
      }
      if (copyUp) {
        await written.try(`${name}: the image`, () => {
          same(numberOf(fs.readFileSync(`${lower}/dir/file`)), 1);
        });
      }
      sh("umount $1", merged);
    }
  }
  return [
    written.row("Writes work on overlayfs", "xino=off, with and without copy-up"),
    locked.row(
      "On overlayfs, locks work and no update is lost",
      "lock file in the image or not",
    ),
  ];
}

/** Two containers, each with its own process, user and mount namespaces, share a directory. */
async function processes(base: string, runtimes: Runtime[], short: boolean): Promise<Row[]> {
  const tally = new Tally();
  const shell = 'set -- unshare --mount --pid --fork --kill-child --mount-proc "$@"';
  const dir = path.join(base, "shared");
  fs.mkdirSync(dir);
  await tally.try("contention", async () => {
    const children = [0, 1, 2, 3].map((i) => {
      const { options } = runtimes[i % runtimes.length]!;
      return new Child("contend", [dir, short ? 1_000 : 5_000, 4, i, "flock"], {
        ...options,
        shell,
      });
    });
    for (const child of children) {
      const line = await child.line();
      if (!line.startsWith("turns")) throw new Error(line);
      tally.trials += Number(line.split(" ")[1]);
      same(await child.exit(), 0);
    }
  });
  for (const [i, runtime] of [...runtimes, ...runtimes].entries()) {
    await tally.try(`a container killed ${i}`, async () => {
      const holder = new Child("hold", [dir], { ...runtime.options, shell });
      await holder.says("held");
      same(await DirLock.tryAcquire(dir), null);
      await holder.kill();
      (await DirLock.acquire(dir, { timeout: 5_000 })).release();
    });
  }
  return [
    tally.row(
      "Containers exclude each other",
      "separate PID namespaces, one killed while it holds the lock",
    ),
  ];
}

/**
 * Files that are mount points. Either their directory is read-only, or the kernel refuses the
 * rename.
 */
async function mounts(base: string, runtimes: Runtime[]): Promise<Row[]> {
  const [readOnly, busy, inPlace] = [new Tally(), new Tally(), new Tally()];
  const volume = path.join(base, "volume");
  fs.writeFileSync(volume, content(1, 50_000));

  const sealed = path.join(base, "sealed");
  fs.mkdirSync(sealed);
  fs.writeFileSync(path.join(sealed, "file"), "");
  sh("mount --bind $1 $1; mount -o remount,bind,ro $1; mount --bind $2 $1/file", sealed, volume);
  const open = path.join(base, "open");
  fs.mkdirSync(open);
  fs.writeFileSync(path.join(open, "file"), "");
  sh("mount --bind $2 $1/file", open, volume);
  const whole = (file: string, version: number) => same(numberOf(fs.readFileSync(file)), version);

  for (const runtime of runtimes) {
    for (const form of forms) {
      for (const fallback of [{}, { fallback: "in-place" }]) {
        const name = `${runtime.name}, ${form}, ${JSON.stringify(fallback)}`;
        await readOnly.try(name, async () => {
          const file = path.join(sealed, "file");
          const { code, step, replaced, message } = await write(runtime, [file, form, fallback]);
          same([code, step, replaced], ["EROFS", "open", false]);
          if (!message!.includes(file)) throw new Error(`it does not name the file: ${message}`);
          whole(file, 1);
          same(fs.readdirSync(sealed), ["file"]);
        });
      }
      await busy.try(`${runtime.name}, ${form}`, async () => {
        const file = path.join(open, "file");
        const { code, step, replaced } = await write(runtime, [file, form, {}]);
        same([code, step, replaced], ["EBUSY", "rename", false]);
        whole(file, 1);
        same(fs.readdirSync(open), ["file"]);
      });
      for (const durability of ["none", "consistent", "durable"]) {
        await inPlace.try(`${runtime.name}, ${form}, ${durability}`, async () => {
          const file = path.join(open, "file");
          const { ino } = fs.statSync(file);
          same(await write(runtime, [file, form, { fallback: "in-place", durability }]), {});
          whole(file, 2);
          whole(volume, 2);
          same(fs.statSync(file).ino, ino);
          same(fs.readdirSync(open), ["file"]);
          fs.writeFileSync(volume, content(1, 50_000));
        });
      }
      await inPlace.try(`${runtime.name}, ${form}, read-only file`, async () => {
        const file = path.join(open, "file");
        sh("mount -o remount,bind,ro $1", file);
        try {
          const { code, step } = await write(runtime, [file, form, { fallback: "in-place" }]);
          same([code, step], ["EROFS", "open"]);
          whole(file, 1);
          same(fs.readdirSync(open), ["file"]);
        } finally {
          sh("mount -o remount,bind,rw $1", file);
        }
      });
      await inPlace.try(`${runtime.name}, ${form}, createNew`, async () => {
        const both = { fallback: "in-place", createNew: true };
        const { name } = await write(runtime, [path.join(open, "other"), form, both]);
        same(name, "RangeError");
      });
    }
  }
  sh("umount $1/file; umount $1; umount $2/file", sealed, open);
  return [
    readOnly.row(
      "Replacing a file in a read-only root fails with a clear EROFS",
      "a bind-mounted file",
    ),
    busy.row(
      "Replacing a mount point fails with EBUSY and keeps its content",
      "a bind-mounted file",
    ),
    inPlace.row(
      '`fallback: "in-place"` writes a file that is a mount point',
      "a bind-mounted file",
    ),
  ];
}

/** A user namespace that maps only root, so other owners cannot be preserved. */
async function users(base: string, runtimes: Runtime[]): Promise<Row[]> {
  const tally = new Tally();
  const shell = 'set -- unshare --user --map-root-user "$@"';
  const dir = path.join(base, "owned");
  fs.mkdirSync(dir);
  const file = path.join(dir, "file");
  for (const runtime of runtimes) {
    for (const form of forms) {
      for (const [mode, expected] of [[0o664, 0o644], [0o660, 0o600], [0o644, 0o644]] as const) {
        await tally.try(`${runtime.name}, ${form}, ${mode.toString(8)}`, async () => {
          fs.rmSync(file, { force: true });
          fs.writeFileSync(file, content(1, 5_000));
          fs.chownSync(file, 1234, 1234);
          fs.chmodSync(file, mode);
          same(await write(runtime, [file, form, {}], { shell }), {});
          same(numberOf(fs.readFileSync(file)), 2);
          const found = fs.statSync(file);
          same([found.uid, found.gid, found.mode & 0o7777], [0, 0, expected]);
          same(fs.readdirSync(dir), ["file"]);
        });
      }
    }
  }
  return [tally.row(
    "If the owner is unmapped, the file gets narrower permissions",
    "unshare --user; chown fails",
  )];
}

/** New files inherit the group of a setgid directory. */
async function groups(base: string, runtimes: Runtime[]): Promise<Row[]> {
  const tally = new Tally();
  const dir = path.join(base, "grouped");
  const parts: string[] = [];
  for (
    const [user, shell] of [
      ["root", undefined],
      ["another", 'set -- setpriv --reuid 1234 --regid 1234 --groups 1234,4321 "$@"'],
    ] as const
  ) {
    // Other users may not be able to read Deno and its cache.
    const able = runtimes.filter(({ options }) => {
      return shell === undefined || canRun(options.worker!, shell);
    });
    parts.push(`${user}: ${able.map(({ name }) => name).join(", ")}`);
    for (const runtime of able) {
      for (const form of forms) {
        await tally.try(`${user}, ${runtime.name}, ${form}`, async () => {
          fs.rmSync(dir, { recursive: true, force: true });
          fs.mkdirSync(dir);
          fs.chownSync(dir, 0, 4321);
          fs.chmodSync(dir, 0o2777);
          const more = shell === undefined ? {} : { shell };
          const file = path.join(dir, "file");
          same(await write(runtime, [file, form, { mode: 0o660 }], more), {});
          same([fs.statSync(file).gid, fs.statSync(file).mode & 0o7777], [4321, 0o660]);
          same(await write(runtime, [file, form, {}], more), {});
          same([fs.statSync(file).gid, fs.statSync(file).mode & 0o7777], [4321, 0o660]);
          // The file's group differs from the directory's and must be preserved.
          fs.chownSync(file, user === "root" ? 0 : 1234, 1234);
          fs.chmodSync(file, 0o640);
          same(await write(runtime, [file, form, {}], more), {});
          same([fs.statSync(file).gid, fs.statSync(file).mode & 0o7777], [1234, 0o640]);
          same(fs.readdirSync(dir), ["file"]);
        });
      }
    }
  }
  return [
    tally.row(
      "A setgid directory's group and a file's own group are kept",
      `mode 2777; ${parts.join("; ")}`,
    ),
  ];
}

function canRun(worker: readonly string[], shell: string): boolean {
  try {
    sh(`set -- "$@"; ${shell}; exec "$@"`, ...worker, "aperture-none");
    return true;
  } catch {
    return false;
  }
}

/** Streams much more data than the control group's memory limit. */
async function memory(_base: string, runtimes: Runtime[], short: boolean): Promise<Row[]> {
  const guarantee = "A stream needs little memory";
  const groups = "/sys/fs/cgroup/memory";
  if (!fs.existsSync(`${groups}/memory.limit_in_bytes`) && !isUnified()) {
    const method = "needs control groups for memory";
    return [{ guarantee, method, trials: 0, failures: [], skipped: true }];
  }
  const unified = isUnified();
  const group = path.join(unified ? "/sys/fs/cgroup" : groups, `prove-${Deno.pid}-${Date.now()}`);
  const [limitName, mostName] = unified
    ? ["memory.max", "memory.peak"]
    : ["memory.limit_in_bytes", "memory.max_usage_in_bytes"];
  const tally = new Tally();
  // Write to a disk, because an in-memory file would count against the limit.
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "prove-containers-"));
  const [mebibytes, limit] = short ? [512, 256] : [1024, 256];
  const peaks: string[] = [];
  for (const { name, options } of runtimes) {
    fs.mkdirSync(group);
    try {
      await tally.try(name, async () => {
        fs.writeFileSync(path.join(group, limitName!), String(limit * 2 ** 20));
        const file = path.join(dir, "file");
        const child = new Child("writeMuch", [file, mebibytes], {
          ...options,
          shell: `echo $$ > ${group}/cgroup.procs`,
        });
        await child.says("written");
        same([await child.exit(), fs.statSync(file).size], [0, mebibytes * 2 ** 20]);
        const most = Number(fs.readFileSync(path.join(group, mostName!), "utf8"));
        if (most > limit * 2 ** 20) throw new Error(`${most} bytes of memory`);
        peaks.push(`${name} ${Math.round(most / 2 ** 20)} MiB with the page cache`);
        fs.rmSync(file);
      });
    } finally {
      await sleep(200);
      fs.rmdirSync(group);
    }
  }
  fs.rmSync(dir, { recursive: true });
  return [tally.row(guarantee, `${mebibytes} MiB in a group of ${limit} MiB: ${peaks.join(", ")}`)];
}

function isUnified(): boolean {
  return fs.existsSync("/sys/fs/cgroup/memory.max") ||
    fs.existsSync("/sys/fs/cgroup/cgroup.controllers");
}
