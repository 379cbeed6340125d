/**
 * Two processes share a settings file. Each process changes its own part, as a program and its
 * configuration tool might. No change is lost.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { readJson, updateJson } from "@aperture/atomic/json";

interface Settings {
  /** How many times each process has changed the file. */
  changes: Record<string, number>;
}

/** A check is any function that throws on invalid data, such as a schema's `parse`. */
function check(value: unknown): Settings {
  const { changes } = Object(value);
  if (typeof changes !== "object") throw new TypeError("'changes' is missing");
  return { changes };
}

async function change(path: string, name: string): Promise<void> {
  for (let i = 0; i < 50; i++) {
    await updateJson<Settings>(path, ({ changes } = { changes: {} }) => ({
      changes: { ...changes, [name]: (changes[name] ?? 0) + 1 },
    }), { check, durability: "none" });
  }
}

const [path, name] = process.argv.slice(2);
if (path !== undefined && name !== undefined) {
  await change(path, name);
} else {
  const dir = await mkdtemp(`${tmpdir()}/shared-settings-`);
  const settings = `${dir}/settings.json`;
  const children = ["editor", "service"].map((name) =>
    spawn(process.execPath, [...thisProgram(), settings, name], { stdio: "inherit" })
  );
  await Promise.all(children.map((child) => once(child, "close")));
  console.log(JSON.stringify(await readJson(settings, { check })));
  await rm(dir, { recursive: true });
}

/** Returns the arguments that make the runtime run this file. */
function thisProgram(): string[] {
  const file = fileURLToPath(import.meta.url);
  if (!("Deno" in globalThis)) return [file];
  return ["run", "-A", ...JSON.parse(process.env.APERTURE_DENO_ARGS ?? "[]"), file];
}
