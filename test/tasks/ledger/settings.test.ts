import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import { ConfigurationError } from "../../../src/kernel/variables.ts";
import { readTaskSettings } from "../../../src/tasks/ledger/settings.ts";

const read = (variables: object) => () => readTaskSettings({ ...env, ...variables });
const DAY_MS = 86_400_000;
const KEPT = { succeeded: 7, failed: 30, cancelled: 7 };

test("days become milliseconds, and a cut of 0 leaves cutting to the platform", () => {
  expect(readTaskSettings(env)).toEqual({
    retentionMs: { succeeded: 7 * DAY_MS, failed: 30 * DAY_MS, cancelled: 7 * DAY_MS },
    subrequestLimits: { external: 10_000, total: 10_000 },
    regions: [],
    publicUrl: "http://localhost:8787",
    waitUntilCutMs: 0,
  });
});

test.each<[unknown, number | null]>([
  [KEPT, 7 * DAY_MS],
  [{ ...KEPT, succeeded: 3.5 }, 3.5 * DAY_MS],
  [{ ...KEPT, succeeded: 3 }, 3 * DAY_MS],
  [{ ...KEPT, succeeded: 3650 }, 3650 * DAY_MS],
  [JSON.stringify({ ...KEPT, succeeded: 4 }), 4 * DAY_MS],
  [{ ...KEPT, succeeded: 0 }, null],
  [{ ...KEPT, succeeded: -1 }, null],
  [{ ...KEPT, succeeded: 3651 }, null],
  [{ ...KEPT, succeeded: "7" }, null],
  [{ failed: 7, cancelled: 7 }, null],
  [{ ...KEPT, running: 1 }, null],
  ["{", null],
  [7, null],
  [undefined, null],
])("TASK_RETENTION_DAYS = %j keeps succeeded tasks for %j ms", (TASK_RETENTION_DAYS, keptMs) => {
  const settings = read({ TASK_RETENTION_DAYS });
  if (keptMs !== null) return expect(settings().retentionMs.succeeded).toBe(keptMs);
  expect(settings).toThrow(ConfigurationError);
  expect(settings).toThrow("TASK_RETENTION_DAYS");
});

test.each(["succeeded", "failed", "cancelled"])(
  "a %s task must be kept for at least three days if there are callbacks",
  (status) => {
    const keep = (days: number, more = {}) =>
      read({ TASK_RETENTION_DAYS: { succeeded: 9, failed: 9, cancelled: 9, [status]: days }, ...more });
    expect(keep(2.99)).toThrow(ConfigurationError);
    expect(keep(2.99)).toThrow(/TASK_RETENTION_DAYS.*CALLBACK_ORIGINS/);
    expect(keep(3)().retentionMs).toMatchObject({ [status]: 3 * DAY_MS });
    const { retentionMs } = keep(0.5, { CALLBACK_ORIGINS: {} })();
    expect(retentionMs).toMatchObject({ [status]: DAY_MS / 2 });
  },
);

test.each<[unknown, number | null]>([
  [0, 0],
  [30, 30_000],
  ["30", 30_000],
  [0.5, 500],
  [30.1, null],
  [3600, null],
  [-1, null],
  ["soon", null],
  [undefined, null],
])("WAIT_UNTIL_CUT_SECONDS = %j cuts after %j ms", (WAIT_UNTIL_CUT_SECONDS, cutMs) => {
  const settings = read({ WAIT_UNTIL_CUT_SECONDS });
  if (cutMs !== null) return expect(settings().waitUntilCutMs).toBe(cutMs);
  expect(settings).toThrow(ConfigurationError);
  expect(settings).toThrow("WAIT_UNTIL_CUT_SECONDS");
});
