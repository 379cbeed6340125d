/**
 * Tests that hang, and tests that follow them; runner_test.ts runs them.
 *
 * @module
 */
import process from "node:process";
import { Child } from "./child.ts";
import { test } from "./test.ts";

if (process.env.APERTURE_HANGING !== undefined) {
  test("hangs", async () => {
    const child = new Child("hold", [process.env.APERTURE_HANGING!]);
    await child.says("held");
    // The interval also keeps the event loop alive.
    await new Promise(() => setInterval(() => {}, 1_000));
  }, { timeout: 3_000 });

  test("hangs because its child ended at the start", async () => {
    const child = new Child("missing job");
    await child.says("held");
  }, { timeout: 30_000 });

  test("follows", () => {});
}
