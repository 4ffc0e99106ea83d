/** Overlaps: what a scheduler does while the previous run has not ended, and that it never loses a tick. */
import { evictDurableObject, reset } from "cloudflare:test";
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import {
  alarmAt,
  create,
  finish,
  finishAll,
  keyOf,
  ledger,
  MINUTE,
  NOW,
  ring,
  runsOf,
  scheduler,
  useScheduler,
} from "../../support/schedulers.ts";

useScheduler();

describe("while the previous run has not ended", () => {
  test.each(["scheduled", "queued", "running", "cancelling", "lost"])(
    "(%s) skip drops ticks",
    async (status) => {
      await create("a");
      await ring(NOW + MINUTE);
      finish("a", NOW + MINUTE, status);
      await ring(NOW + 2 * MINUTE);
      await ring(NOW + 3 * MINUTE);
      expect(runsOf("a")).toEqual([1]);
      expect(await scheduler().get("a")).toMatchObject({ skipped_count: 2, waiting: 0, missed_count: 0 });
      finishAll();
      await ring(NOW + 4 * MINUTE);
      expect(runsOf("a")).toEqual([1, 4]);
    },
  );

  test.each(["succeeded", "failed", "cancelled"])("a run that is %s does not count", async (status) => {
    await create("a");
    await ring(NOW + MINUTE);
    finish("a", NOW + MINUTE, status);
    await ring(NOW + 2 * MINUTE);
    expect(runsOf("a")).toEqual([1, 2]);
  });

  test("a run whose task was deleted does not count either", async () => {
    await create("a");
    await ring(NOW + MINUTE);
    ledger.tasks.clear();
    await ring(NOW + 2 * MINUTE);
    expect(runsOf("a")).toEqual([2]);
  });

  test("queue lets ticks wait, and runs them one after the other, in order", async () => {
    await create("a", { overlap: "queue" });
    for (const minute of [1, 2, 3]) await ring(NOW + minute * MINUTE);
    expect(runsOf("a")).toEqual([1]);
    expect(await scheduler().get("a")).toMatchObject({ waiting: 2, skipped_count: 0 });
    // Nothing is to be done until the next tick, unless the ledger says that the run has ended.
    expect(await alarmAt()).toBe(NOW + 4 * MINUTE);
    await scheduler().runEnded("another run");
    expect(await alarmAt()).toBe(NOW + 4 * MINUTE);
    for (const [seconds, ended, ticks] of [
      [4, 1, [1, 2]],
      [6, 2, [1, 2, 3]],
    ] as const) {
      finishAll();
      vi.setSystemTime(NOW + 3 * MINUTE + seconds * 1000);
      await scheduler().runEnded(keyOf("a", NOW + ended * MINUTE));
      expect(await alarmAt()).toBe(Date.now());
      await ring(Date.now());
      expect(runsOf("a")).toEqual(ticks);
    }
    // The last run ends, and no tick waits for that.
    finishAll();
    await scheduler().runEnded(keyOf("a", NOW + 3 * MINUTE));
    expect(await scheduler().get("a")).toMatchObject({ waiting: 0, last_tick_at_ms: NOW + 3 * MINUTE });
    expect(await alarmAt()).toBe(NOW + 4 * MINUTE);
  });

  test("queue runs them too if the ledger's messages are lost, a minute later at most", async () => {
    await create("a", { overlap: "queue", cron: "*/10 * * * *" });
    for (const minute of [10, 20, 30]) await ring(NOW + minute * MINUTE);
    expect(await alarmAt()).toBe(NOW + 31 * MINUTE);
    finishAll();
    await ring(NOW + 31 * MINUTE);
    expect(runsOf("a")).toEqual([10, 20]);
  });

  test("queue runs the next at once if a run ends before its own enqueuing has returned", async () => {
    await create("a", { overlap: "queue" });
    for (const minute of [1, 2, 3]) await ring(NOW + minute * MINUTE);
    finishAll();
    ledger.onEnqueue = async (key) => {
      finishAll();
      await scheduler().runEnded(key);
    };
    vi.setSystemTime(NOW + 4 * MINUTE - 1_000);
    await scheduler().runEnded(keyOf("a", NOW + MINUTE));
    await ring(Date.now());
    expect([runsOf("a"), await alarmAt()]).toEqual([[1, 2], NOW + 4 * MINUTE - 1_000]);
  });

  test("queue lets at most 100 ticks wait, and drops the others", async () => {
    await create("a", { overlap: "queue" });
    for (let minute = 1; minute <= 103; minute++) await ring(NOW + minute * MINUTE);
    expect(await scheduler().get("a")).toMatchObject({ waiting: 100, skipped_count: 2 });
    finishAll();
    vi.setSystemTime(NOW + 104 * MINUTE - 1000);
    await scheduler().runEnded(keyOf("a", NOW + MINUTE));
    await ring(Date.now());
    expect(await scheduler().get("a")).toMatchObject({ waiting: 99 });
    expect(runsOf("a")).toEqual([1, 2]);
  });

  test("the runs of other schedules do not matter", async () => {
    await create("a");
    await create("b");
    await ring(NOW + MINUTE);
    finish("b", NOW + MINUTE);
    await ring(NOW + 2 * MINUTE);
    expect([runsOf("a"), runsOf("b")]).toEqual([[1], [1, 2]]);
  });
});

test("whatever happens, no tick runs twice, concurrently or out of order, and each is accounted for", async () => {
  const step = fc.record({
    seconds: fc.oneof(fc.constant(2), fc.constant(60), fc.nat(200)),
    finishes: fc.boolean(),
    happens: fc.constantFrom("nothing", "nothing", "ledger fails", "reply is lost", "eviction"),
    // Which of the ledger's messages about ended runs arrive, in time or far too late.
    tells: fc.constantFrom("nothing", "all", "ended", "twice"),
  });
  const run = async (
    overlap: "skip" | "queue",
    missed: "run_once" | "skip",
    steps: { seconds: number; finishes: boolean; happens: string; tells: string }[],
  ) => {
    await reset();
    ledger.tasks.clear();
    ledger.maxActive = 0;
    vi.setSystemTime(NOW);
    await create("a", { overlap, missed });
    let nowMs = NOW;
    for (const { seconds, finishes, happens, tells } of steps) {
      nowMs += seconds * 1000;
      if (finishes) finishAll();
      ledger.isDown = happens === "ledger fails";
      ledger.onEnqueue = async () => {
        if (happens === "reply is lost") throw new Error(happens);
      };
      if (happens === "eviction") await evictDurableObject(scheduler());
      await ring(nowMs);
      for (const [key, { status }] of tells === "nothing" ? [] : ledger.tasks)
        if (tells === "all" || status === "succeeded")
          for (let n = 0; n < (tells === "twice" ? 2 : 1); n++) await scheduler().runEnded(key);
      await ring(nowMs);
    }
    const row = await scheduler().get("a");
    if (!row) throw new Error("the schedule does not exist");
    expect(ledger.maxActive).toBeLessThanOrEqual(1);
    const ran = runsOf("a");
    expect(ran).toEqual(ran.toSorted((x, y) => x - y));
    const decided = (row.next_at_ms - NOW) / MINUTE - 1;
    const noted = ran.filter((minute) => minute * MINUTE + NOW <= (row.last_tick_at_ms ?? 0)).length;
    expect(noted + row.waiting + row.skipped_count + row.missed_count).toBe(decided);
    if (overlap === "skip") expect(row.waiting).toBeLessThanOrEqual(1);
  };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("skip", "queue"),
      fc.constantFrom("run_once", "skip"),
      fc.array(step, { minLength: 5, maxLength: 30 }),
      run,
    ),
    { numRuns: 25 },
  );
});
