import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { JsonFileError, readJson, updateJson, writeJson } from "../json.ts";
import { type Part, same, Tally } from "./part.ts";

/** Updates a 200 MB JSON file, and locates a syntax error at its end. */
export const proveLargeJson: Part = async () => {
  const tally = new Tally();
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "prove-large-json-"));
  const file = path.join(dir, "file");
  try {
    await tally.try("update", async () => {
      const value = Array.from({ length: 2_000 }, (_, i) => String(i).padEnd(100_000));
      await writeJson(file, value, { indent: 0, durability: "none" });
      same(fs.statSync(file).size > 200_000_000, true);
      const change = (all: string[] | undefined) => all!.with(-1, "last");
      const changed = await updateJson<string[]>(file, change, { durability: "none" });
      same([changed.length, changed[1_998]!.trim(), changed.at(-1)], [2_000, "1998", "last"]);
    });
    await tally.try("location", async () => {
      fs.truncateSync(file, 150_000_000);
      const error: unknown = await readJson(file).catch((error) => error);
      same(error instanceof JsonFileError && error.column, 150_000_001);
    });
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
  return [tally.row("Large JSON files work", "update 200 MB, locate an error at the end")];
};
