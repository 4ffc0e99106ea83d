/** The schedules that are declared in code, as deploys add, change and remove them. */
import { evictDurableObject } from "cloudflare:test";
import { describe, expect, test, vi } from "vitest";
import {
  defineSchedule,
  registerSchedules,
  type ScheduleSpec,
} from "../../../src/tasks/schedules/registry.ts";
import {
  create,
  finishAll,
  keyOf,
  ledger,
  MINUTE,
  NOW,
  ring,
  runsOf,
  scheduler,
  useScheduler,
  work,
} from "../../support/schedulers.ts";

useScheduler();

describe("schedules that are declared in code", () => {
  const declare = (id: string, more: Partial<Parameters<typeof defineSchedule<typeof work.input>>[0]> = {}) =>
    defineSchedule({ id, cron: "* * * * *", type: work, input: { n: 1 }, ...more });
  /** What a deploy does. */
  const deploy = async (...list: ScheduleSpec[]) => {
    await scheduler().list(); // Only a running object can be evicted.
    registerSchedules(list);
    await evictDurableObject(scheduler());
    await scheduler().list();
  };
  const ids = async () => (await scheduler().list()).map(({ id }) => id);

  test("exist and run without a call to the API", async () => {
    await deploy(declare("x"), declare("y", { overlap: "queue" }));
    expect(await scheduler().list()).toMatchObject([
      { id: "x", is_declared: 1, overlap: "skip", next_at_ms: NOW + MINUTE },
      { id: "y", is_declared: 1, overlap: "queue" },
    ]);
    await ring(NOW + MINUTE);
    expect([runsOf("x"), runsOf("y")]).toEqual([[1], [1]]);
  });

  test("may have follow-ups, which are checked when the schedules are registered, and change with the code", async () => {
    const next = { type: work, input: { n: "{{result.n}}" } };
    await deploy(declare("x", { then: [next] }));
    expect(JSON.parse(String((await scheduler().get("x"))?.then_tasks))).toEqual([
      { type: work.name, input: next.input, priority: 0 },
    ]);
    await deploy(declare("x"));
    expect(await scheduler().get("x")).toMatchObject({ then_tasks: null });
    for (const [wrong, why] of [
      [{ type: work, input: { n: "1" } }, "then/0/input/n"],
      [{ type: work, input: { n: "{{input.m}}" } }, "leads nowhere"],
    ] as const)
      expect(() => registerSchedules([declare("x", { then: [wrong] })])).toThrow(why);
    expect(() => declare("x", { then: [] })).toThrow("then:");
    await deploy();
  });

  test("are added, changed and removed with the code; those created through the API stay", async () => {
    await create("mine");
    await deploy(declare("x"), declare("y"));
    expect(await ids()).toEqual(["mine", "x", "y"]);
    vi.setSystemTime(NOW + 30_000);
    await deploy(
      declare("y", { cron: "0 0 * * *", timeZone: "Europe/Berlin", input: { n: 2 } }),
      declare("z"),
    );
    expect(await ids()).toEqual(["mine", "y", "z"]);
    expect(await scheduler().get("y")).toMatchObject({
      cron: "0 0 * * *",
      time_zone: "Europe/Berlin",
      input: '{"n":2}',
      created_at_ms: NOW,
      next_at_ms: NOW + 11 * 60 * MINUTE,
    });
    await deploy();
    expect(await ids()).toEqual(["mine"]);
  });

  test("keep their due tick and counts when they do not change or only their input does", async () => {
    await deploy(declare("x", { overlap: "queue" }));
    await ring(NOW + MINUTE);
    await ring(NOW + 2 * MINUTE);
    vi.setSystemTime(NOW + 3 * MINUTE + 5_000);
    const before = await scheduler().get("x");
    await deploy(declare("x", { overlap: "queue" }));
    expect(await scheduler().get("x")).toEqual(before);
    await deploy(declare("x", { overlap: "queue", input: { n: 7 } }));
    expect(await scheduler().get("x")).toEqual({ ...before, input: '{"n":7}' });
    for (const minute of [1, 2]) {
      finishAll();
      await scheduler().runEnded(keyOf("x", NOW + minute * MINUTE));
      await ring(NOW + 3 * MINUTE + 5_000 + minute * 1_000);
    }
    expect(runsOf("x")).toEqual([1, 2, 3]);
    expect(ledger.tasks.get(keyOf("x", NOW + 3 * MINUTE))?.input).toEqual({ n: 7 });
  });

  test("cannot be removed", async () => {
    await deploy(declare("x"));
    expect(await scheduler().remove("x")).toBe("declared");
    expect(await ids()).toEqual(["x"]);
  });
});
