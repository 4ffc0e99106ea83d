/** The variables of the tasks. `wrangler.toml` says what each of them means. */
import { z } from "zod";
import { readAccess } from "../../kernel/access.ts";
import { readCallbackOrigins } from "../../kernel/callbacks.ts";
import { LOCATION_HINTS } from "../../kernel/regions.ts";
import { ConfigurationError, perEnv, readVariable } from "../../kernel/variables.ts";

const DAY_MS = 86_400_000;
const MIN_DAYS_WITH_CALLBACKS = 3;
const days = z.number().positive().max(3650);

/** Default: what the Paid plan allows. */
const limits = z
  .strictObject({ external: z.int().min(10), total: z.int().min(100) })
  .default({ external: 10_000, total: 10_000 });

/** What `npm run dev` listens on. */
const DEV_URL = "http://localhost:8787";
const publicUrl = z
  .union([z.literal(""), z.url({ protocol: /^https?$/ })])
  .optional()
  .transform((url) => url?.replace(/(?<!\/)\/+$/, "") || undefined);

export const readTaskSettings = perEnv((env) => {
  const kept = readVariable(
    env,
    "TASK_RETENTION_DAYS",
    z.strictObject({ succeeded: days, failed: days, cancelled: days }),
  );
  if (readCallbackOrigins(env).size > 0 && Math.min(...Object.values(kept)) < MIN_DAYS_WITH_CALLBACKS)
    throw new ConfigurationError(
      `The variable TASK_RETENTION_DAYS must be at least ${MIN_DAYS_WITH_CALLBACKS} when there are CALLBACK_ORIGINS: ` +
        "a callback is tried for two days, and needs its task until then.",
    );
  return {
    retentionMs: {
      succeeded: Math.round(kept.succeeded * DAY_MS),
      failed: Math.round(kept.failed * DAY_MS),
      cancelled: Math.round(kept.cancelled * DAY_MS),
    },
    subrequestLimits: readVariable(env, "SUBREQUEST_LIMITS", limits),
    /** The regions whose shards take new tasks. Without any, the shards s0 to s3 take them. */
    regions: readVariable(env, "TASK_REGIONS", z.array(z.enum(LOCATION_HINTS)).default([])),
    /** Where people reach this Worker, without a slash at the end; undefined if the variable is not set. */
    publicUrl:
      readVariable(env, "PUBLIC_URL", publicUrl) ?? (readAccess(env).localIsOpen ? DEV_URL : undefined),
    /** 0: Sluice does not cut; the platform does. */
    waitUntilCutMs: readVariable(env, "WAIT_UNTIL_CUT_SECONDS", z.coerce.number().min(0).max(30)) * 1000,
  };
});
