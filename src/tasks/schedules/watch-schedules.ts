/** What happens to the schedules. */
import type { Watched } from "../../kernel/merged-events.ts";
import { callLedger, schedulerOf } from "../ledger/shards.ts";

/** `caller` is the name of the token. */
export const watchSchedules = (env: Env, caller: string): Watched => ({
  name: "schedules",
  open: async () => callLedger(async () => schedulerOf(env).watchAll(caller)),
});
