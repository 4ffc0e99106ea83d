/** Sluice, which says how much memory its uploads have held at once, by the budget that all of their buffers come from. */

import { type Share, uploadMemory } from "../../src/files/store/memory-budget.ts";
import sluice from "../../src/index.ts";

export * from "../../src/index.ts";

let heldBytes = 0;
let mostBytes = 0;

function counted(bytes: number, share: Share): Share {
  heldBytes += bytes;
  mostBytes = Math.max(mostBytes, heldBytes);
  return {
    release: () => {
      heldBytes -= bytes;
      share.release();
    },
  };
}

const take = uploadMemory.take.bind(uploadMemory);
uploadMemory.take = async (bytes, stopped) => counted(bytes, await take(bytes, stopped));
const takeNow = uploadMemory.takeNow.bind(uploadMemory);
uploadMemory.takeNow = (bytes, spare) => {
  const share = takeNow(bytes, spare);
  return share && counted(bytes, share);
};

export default {
  fetch: async (request, env, ctx) =>
    new URL(request.url).pathname === "/gauge"
      ? Response.json({ mostBytes })
      : sluice.fetch(request, env, ctx),
} satisfies ExportedHandler<Env>;
