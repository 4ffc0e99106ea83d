/** Sluice on the simulated platform, which says what it has counted. */
import { registerTaskTypes } from "../../src/tasks/index.ts";
import { platform } from "../../test/support/platform/platform.ts";
import sluice from "../../test/support/worker.ts";
import { COST_TYPES } from "./types.ts";

export * from "../../test/support/worker.ts";

registerTaskTypes(COST_TYPES);

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/used") return Response.json({ used: platform.total, isIdle: platform.isIdle });
    if (pathname !== "/cron") return sluice.fetch(request, env, ctx);
    await sluice.scheduled({ scheduledTime: Date.now(), cron: "* * * * *", noRetry: () => {} }, env);
    return new Response();
  },
} satisfies ExportedHandler<Env>;
