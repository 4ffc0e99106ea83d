/** Runs by hand beside ticks and alarms: each once, and never two at once. */
import { reset, runInDurableObject } from "cloudflare:test";
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { Scheduler } from "../../../src/tasks/schedules/scheduler.ts";
import {
  create,
  finishAll,
  keyOf,
  ledger,
  NOW,
  ring,
  scheduler,
  useScheduler,
} from "../../support/schedulers.ts";

useScheduler();

describe("a run by hand", () => {
  test("that the ledger does not accept is kept, and started when it does", async () => {
    await create("a", { cron: "0 0 * * *" });
    ledger.isDown = true;
    expect(await scheduler().runByHand("a", NOW + 5)).toEqual({ taskId: null });
    expect(await scheduler().get("a")).toMatchObject({ waiting: 1 });
    ledger.isDown = false;
    await ring(NOW + 26_000);
    expect(await scheduler().get("a")).toMatchObject({ waiting: 0, last_task_id: keyOf("a", NOW + 5) });
    // The same call again, because its reply was lost.
    expect(await scheduler().runByHand("a", NOW + 5)).toEqual({ taskId: keyOf("a", NOW + 5) });
    expect(ledger.tasks.size).toBe(1);
  });

  test("whose schedule is deleted meanwhile is none", async () => {
    await create("a");
    await scheduler().remove("a");
    expect(await scheduler().runByHand("a", NOW)).toBe("missing");
  });
});

test("whatever is asked for at once, each accepted run happens once, and none overlap", async () => {
  const round = fc.record({
    seconds: fc.nat(90),
    byHand: fc.array(fc.nat(3), { maxLength: 3 }),
    alarms: fc.nat(2),
    finishes: fc.boolean(),
    isDown: fc.boolean(),
    pauses: fc.constantFrom("nothing", "pause", "resume"),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("skip", "queue"),
      fc.array(round, { minLength: 3, maxLength: 12 }),
      async (overlap, rounds) => {
        await reset();
        ledger.tasks.clear();
        ledger.maxActive = 0;
        ledger.onEnqueue = async () => letOthersGo();
        vi.setSystemTime(NOW);
        await create("a", { overlap });
        const accepted = new Set<number>();
        let nowMs = NOW;
        for (const { seconds, byHand, alarms, finishes, isDown, pauses } of rounds) {
          nowMs += seconds * 1000;
          vi.setSystemTime(nowMs);
          if (finishes) finishAll();
          ledger.isDown = isDown;
          if (pauses !== "nothing") await pause(pauses === "pause");
          await Promise.all([
            ...byHand.map(async (ms) => {
              const outcome = await scheduler().runByHand("a", nowMs + ms);
              if (typeof outcome === "object" && "taskId" in outcome) accepted.add(nowMs + ms);
            }),
            ...Array.from({ length: alarms }, async () =>
              runInDurableObject(scheduler(), async (object: Scheduler) => object.alarm()),
            ),
          ]);
          expect(ledger.maxActive).toBeLessThanOrEqual(1);
        }
        ledger.isDown = false;
        await pause(true);
        // Until nothing waits any more.
        for (let i = 0; i < 25; i++) {
          finishAll();
          await runInDurableObject(scheduler(), async (object: Scheduler, { storage }) => {
            storage.sql.exec("UPDATE schedule SET look_at_ms = 0");
            await object.alarm();
          });
        }
        expect(ledger.maxActive).toBeLessThanOrEqual(1);
        expect(await scheduler().get("a")).toMatchObject({ waiting: 0 });
        for (const atMs of accepted) expect(ledger.tasks.has(keyOf("a", atMs))).toBe(true);
      },
    ),
    { numRuns: 8 },
  );
});

/** Lets others go first. */
const letOthersGo = async () => new Promise<void>((resolve) => setTimeout(resolve, 0));

async function pause(paused: boolean): Promise<void> {
  const row = await scheduler().get("a");
  if (!row) throw new Error("there is no schedule");
  const { id, cron, type, input, overlap, missed } = row;
  await scheduler().put({ id, cron, timeZone: row.time_zone, type, input, overlap, missed, paused }, {});
}
