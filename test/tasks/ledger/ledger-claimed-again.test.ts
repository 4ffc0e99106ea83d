/** What a ledger does with submissions that come in one call, and with those that come again. */
import { evictDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  FAILURE,
  inLedger,
  ledgerCalled,
  newTask,
  pass,
  SUCCESS,
  T0,
  useLedger,
} from "../../support/ledgers.ts";

const body = { input: z.unknown(), run: async () => null };
registerTaskTypes([
  defineTask({ ...body, name: "again-free" }),
  defineTask({ ...body, name: "again-one", concurrency: 1 }),
]);

const ledger = useLedger();

const LIFETIME_MS = 35_000;
const mine = { lane: "fast", lifetimeMs: LIFETIME_MS, claimant: "me" } as const;
const free = (id: string, more = {}) => newTask("again-free", id, { ...mine, ...more });
const one = (id: string, more = {}) => newTask("again-one", id, { ...mine, ...more });
const CLAIM = { taskId: "a", token: 1 };

describe("a call with many submissions", () => {
  test("writes each all or none; an error is that of one alone", async () => {
    await inLedger(ledger.name, (inside) => {
      const broken = free("b", { input: null });
      const written = inside.object.commit([[free("a")], [free("b1"), broken], [free("c")], []], []);
      expect(written).toMatchObject([
        { claims: [CLAIM] },
        { error: expect.stringContaining("NOT NULL") },
        { claims: [{ taskId: "c", token: 1 }] },
        { claims: [] },
      ]);
      expect(inside.statuses()).toEqual({ a: "running", c: "running" });
    });
  });

  test("applies the reports first, and keeps to caps among its submissions", async () => {
    await inLedger(ledger.name, ({ object }) => {
      object.submit([one("a")]);
      const written = object.commit([[one("b")], [one("c")]], [{ ...CLAIM, outcome: SUCCESS }]);
      expect(written).toEqual([{ claims: [{ taskId: "b", token: 1 }] }, { claims: [null] }]);
    });
  });

  test("sets the alarm for the earliest that it has written", async () => {
    await inLedger(ledger.name, async ({ object, storage }) => {
      object.commit([[free("a", { runAtMs: T0 + 90_000 })], [free("b")], [free("a")]], []);
      expect(await storage.getAlarm()).toBe(T0 + LIFETIME_MS);
    });
  });
});

describe("a submission that comes again", () => {
  test("gets its claim again, for as long as from the start, also after a restart", async () => {
    await inLedger(ledger.name, ({ object }) => void object.commit([[free("a")]], []));
    await evictDurableObject(ledgerCalled(ledger.name));
    pass(8_000);
    await inLedger(ledger.name, (inside) => {
      expect(inside.object.commit([[free("a", { input: "2" })]], [])).toEqual([{ claims: [CLAIM] }]);
      const endsAtMs = T0 + 8_000 + LIFETIME_MS;
      const task = { status: "running", attempt: 1, input: '{"n":1}' };
      expect(inside.object.getTask("a")).toMatchObject({
        ...task,
        due_at_ms: endsAtMs,
        busy_until_ms: endsAtMs,
      });
      expect(inside.events("a")).toHaveLength(1);
      pass(LIFETIME_MS - 1);
      inside.alarm();
      expect(inside.status("a")).toBe("running");
    });
  });

  test.each<[string, Partial<ReturnType<typeof free>>]>([
    ["another submitter", { claimant: "you" }],
    ["a submitter of version 0.1.0", { claimant: undefined as never }],
  ])("from %s gets no claim", async (_, more) => {
    await inLedger(ledger.name, ({ object }) => {
      object.submit([free("a")]);
      expect(object.submit([free("a", more)])).toEqual([null]);
      expect(object.submit([free("a")])).toEqual([CLAIM]);
    });
  });

  test("gets no claim for a task whose first claim has ended", async () => {
    await inLedger(ledger.name, (inside) => {
      const { object } = inside;
      object.submit([free("done"), free("failed"), free("over"), free("off"), free("waits", { lane: null })]);
      inside.report("done", SUCCESS);
      inside.report("failed", FAILURE);
      inside.report("over", { kind: "handed-over", notBeforeMs: 0 });
      object.cancel("off");
      const before = inside.statuses();
      const again = ["done", "failed", "over", "off", "waits"].map((id) => free(id));
      expect(object.submit(again)).toEqual([null, null, null, null, null]);
      expect(inside.statuses()).toEqual(before);
      // The next claims are those of runners.
      inside.alarm();
      expect(object.submit(again)).toEqual([null, null, null, null, null]);
    });
  });
});
