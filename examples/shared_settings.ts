/**
 * Two processes share a settings file, each changes its own part, and no change is lost: what a
 * program and its configuration tool do.
 *
 * ```sh
 * deno run -A examples/shared_settings.ts
 * ```
 *
 * @module
 */
import { readJson, updateJson } from "@aperture/atomic/json";

interface Settings {
  /** How many times each process has changed the file. */
  changes: Record<string, number>;
}

/** Any function that throws will do, a schema's `parse` too. */
function check(value: unknown): Settings {
  const { changes } = Object(value);
  if (typeof changes !== "object") throw new TypeError("There must be 'changes'");
  return { changes };
}

async function change(path: string, name: string): Promise<void> {
  for (let i = 0; i < 50; i++) {
    await updateJson<Settings>(path, ({ changes } = { changes: {} }) => ({
      changes: { ...changes, [name]: (changes[name] ?? 0) + 1 },
    }), { check, durability: "none" });
  }
}

const [path, name] = Deno.args;
if (path !== undefined && name !== undefined) {
  await change(path, name);
} else {
  const dir = await Deno.makeTempDir();
  const settings = `${dir}/settings.json`;
  const statuses = ["editor", "service"].map((name) =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", ...imports(), import.meta.filename!, settings, name],
    }).spawn().status
  );
  await Promise.all(statuses);
  console.log(JSON.stringify(await readJson(settings, { check })));
  await Deno.remove(dir, { recursive: true });
}

function imports(): string[] {
  return JSON.parse(Deno.env.get("APERTURE_DENO_ARGS") ?? "[]");
}
