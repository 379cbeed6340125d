import { findWrong, library } from "../tests/support/order_model.ts";
import { type Part, Tally } from "./part.ts";

/**
 * Checks, with random programs, that concurrent calls for the same path have the same effect as
 * sequential calls.
 */
export const proveOrderModel: Part = async ({ short }) => {
  const tally = new Tally();
  const first = Math.floor(Math.random() * 2 ** 31);
  for (let seed = first; seed < first + (short ? 100 : 5_000); seed++) {
    await tally.try(`APERTURE_SEED=${seed}`, async () => {
      const wrong = await findWrong(library, [seed]);
      if (wrong !== undefined) throw wrong.error;
    });
  }
  return [tally.row("Calls take effect in order", "random programs compared with a model")];
};
