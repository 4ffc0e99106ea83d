/** The variables of the tasks; what each means is told in wrangler.toml. */
import { z } from "zod";
import { readCallbackKeys } from "../../kernel/callbacks.ts";
import { ConfigurationError, perEnv, readVariable } from "../../kernel/variables.ts";

const DAY_MS = 86_400_000;
const LEAST_DAYS_WITH_CALLBACKS = 3;
const days = z.number().positive().max(3650);

export const readTaskSettings = perEnv((env) => {
  const kept = readVariable(
    env,
    "TASK_RETENTION_DAYS",
    z.strictObject({ succeeded: days, failed: days, cancelled: days }),
  );
  if (readCallbackKeys(env).length > 0 && Math.min(...Object.values(kept)) < LEAST_DAYS_WITH_CALLBACKS)
    throw new ConfigurationError(
      `The variable TASK_RETENTION_DAYS must be ${LEAST_DAYS_WITH_CALLBACKS} at least where there are CALLBACK_KEYS: ` +
        "a callback is tried for two days, and tells what the task has become.",
    );
  return {
    retentionMs: {
      succeeded: Math.round(kept.succeeded * DAY_MS),
      failed: Math.round(kept.failed * DAY_MS),
      cancelled: Math.round(kept.cancelled * DAY_MS),
    },
    /** 0: the platform cuts by itself. */
    waitUntilCutMs: readVariable(env, "WAIT_UNTIL_CUT_SECONDS", z.coerce.number().min(0).max(30)) * 1000,
  };
});
