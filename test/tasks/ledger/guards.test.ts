/** Guarded submissions in a ledger: what is stored, what is told, and what comes again. */
import { evictDurableObject } from "cloudflare:test";
import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { z } from "zod";
import type { NewTask, Placed } from "../../../src/tasks/ledger/claim.ts";
import { isFinal } from "../../../src/tasks/ledger/task-state.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { CONFLICT_POLICIES, type Guard } from "../../../src/tasks/types/guards.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  type Inside,
  inLedger,
  ledgerCalled,
  newLedgerName,
  newTask,
  pass,
  T0,
  useClock,
} from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";

registerTaskTypes([defineTask({ name: "guarded", input: z.unknown(), run: async () => null })]);
useClock();
keepQuiet();

const KEEP: Guard = { is: "unique", key: "unique guarded a", withinMs: 0, onConflict: "keep" };
const REPLACE: Guard = { ...KEEP, onConflict: "replace" };
const WAIT: Guard = { is: "debounce", key: "debounce guarded a", waitMs: 1_000, maxWaitMs: 2_500 };
const SUCCESS = { kind: "succeeded", result: "1" } as const;

function place(inside: Inside, id: string, guard: Guard, more: Partial<NewTask> = {}): Placed {
  const placed = inside.object.submitGuarded([newTask("guarded", id, { guard, ...more })]);
  return Array.isArray(placed) ? (placed[0] ?? expect.fail()) : expect.fail(placed.why);
}

/** What the events of a task say. */
const told = (inside: Inside, id: string) =>
  inside.events(id).map(({ data }) => JSON.parse(data) as Record<string, unknown>);

test("of a unique key the first is kept until it has ended, and then a new one is written", async () => {
  await inLedger(newLedgerName(), (inside) => {
    expect(place(inside, "a", KEEP, { lane: "fast" })).toEqual({
      id: "a",
      claim: { taskId: "a", token: 1 },
      is: "new",
    });
    expect(place(inside, "b", KEEP)).toEqual({ id: "a", claim: null, is: "kept" });
    inside.object.report([{ taskId: "a", token: 1, outcome: SUCCESS }]);
    expect(place(inside, "c", KEEP)).toMatchObject({ id: "c", is: "new" });
    expect(inside.statuses()).toEqual({ a: "succeeded", c: "queued" });
  });
});

test("one that is replaced is cancelled, and its status and its events say for which", async () => {
  await inLedger(newLedgerName(), (inside) => {
    place(inside, "a", REPLACE, { runAtMs: T0 + 5_000 });
    expect(place(inside, "b", REPLACE)).toEqual({ id: "b", claim: null, is: "replaced", replaces: "a" });
    expect(inside.object.getTask("a")).toMatchObject({
      status: "cancelled",
      error: expect.stringContaining("task b"),
    });
    expect(told(inside, "a").at(-1)).toMatchObject({ status: "cancelled", error: { name: "Replaced" } });
    inside.alarm();
    const refused = inside.object.submitGuarded([newTask("guarded", "c", { guard: REPLACE })]);
    expect(refused).toEqual({ at: 0, holder: "b", why: "has begun" });
    expect(inside.object.getTask("c")).toBeNull();
  });
});

test("a task that was replaced is not retried while the other is live", async () => {
  await inLedger(newLedgerName(), (inside) => {
    place(inside, "a", REPLACE);
    place(inside, "b", REPLACE);
    expect(inside.object.retry("a")).toBe("held");
    inside.object.cancel("b");
    expect(inside.object.retry("a")).toMatchObject({ status: "queued" });
    expect(inside.object.retry("b")).toBe("held");
    expect(inside.object.actOn("retry", ["b"], Date.now() + 1)).toMatchObject({ done: 0, skipped: 1 });
    expect(place(inside, "c", KEEP)).toMatchObject({ id: "a", is: "kept" });
  });
});

test("debounced submissions become one task, which is the last of them, in its time, and tells of them", async () => {
  await inLedger(newLedgerName(), (inside) => {
    place(inside, "a", WAIT, { input: "1", tags: '["old"]', lane: "fast" });
    pass(900);
    const last = {
      input: "2",
      priority: 7,
      tags: '["new"]',
      then: '[{"type":"guarded"}]',
      callbackUrl: "https://a.b/",
    };
    expect(place(inside, "b", WAIT, last)).toEqual({ id: "a", claim: null, is: "debounced" });
    expect(inside.object.getTask("a")).toMatchObject({
      input: "2",
      priority: 7,
      tags: '["new"]',
      then_tasks: last.then,
      callback_url: last.callbackUrl,
      due_at_ms: T0 + 1_900,
    });
    expect(inside.sql("SELECT tag FROM task_tag")).toEqual([{ tag: "new" }]);
    pass(900);
    place(inside, "c", WAIT, { input: "3" });
    expect(inside.object.getTask("a")?.due_at_ms).toBe(T0 + 2_500);
    expect(told(inside, "a").map(({ reason }) => reason)).toEqual([undefined, "debounced", "debounced"]);
    pass(700);
    // Its time has come: from now on, there is another one.
    expect(place(inside, "d", WAIT)).toMatchObject({ id: "d", is: "new" });
    expect(inside.alarm()).toEqual([{ taskId: "a", token: 1 }]);
    expect(inside.object.open({ taskId: "a", token: 1 })).toMatchObject({ input: "3" });
  });
});

test("a submission that comes again is written once, and gets its claim again", async () => {
  await inLedger(newLedgerName(), (inside) => {
    const first = () => place(inside, "a", KEEP, { lane: "fast", lifetimeMs: 35_000, claimant: "me" });
    expect(first()).toEqual(first());
    place(inside, "x", { ...WAIT, key: "debounce guarded b" });
    const event = inside.events("x").length;
    place(inside, "x", { ...WAIT, key: "debounce guarded b" });
    expect(inside.events("x")).toHaveLength(event);
  });
});

test("a batch is written whole or not at all", async () => {
  await inLedger(newLedgerName(), (inside) => {
    place(inside, "a", KEEP);
    const batch = [
      newTask("guarded", "b"),
      newTask("guarded", "c", { guard: { ...KEEP, onConflict: "reject" } }),
    ];
    expect(inside.object.submitGuarded(batch)).toEqual({ at: 1, holder: "a", why: "is held" });
    expect(inside.statuses()).toEqual({ a: "queued" });
  });
});

test("the history of a task has the first of its debounced submissions, and not thousands", async () => {
  await inLedger(newLedgerName(), (inside) => {
    for (let n = 0; n < 150; n++) place(inside, `t${n}`, WAIT, { input: `${n}` });
    expect(inside.events("t0")).toHaveLength(100);
    expect(inside.object.getTask("t0")).toMatchObject({ input: "149" });
  });
});

const command = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("submit" as const),
      key: fc.constantFrom("a", "b"),
      onConflict: fc.constantFrom(...CONFLICT_POLICIES),
      withinMs: fc.constantFrom(0, 500),
      delayMs: fc.constantFrom(0, 700),
      lane: fc.constantFrom("fast" as const, null),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("cancel" as const, "retry" as const, "report" as const, "remove" as const),
      pick: fc.nat(30),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom("alarm" as const, "pass" as const), pick: fc.nat(0) }),
  },
);

test("whatever happens, a unique key has at most one live task, and a new one is written if there is none", async () => {
  const phases = fc.array(fc.array(command, { minLength: 10, maxLength: 25 }), {
    minLength: 2,
    maxLength: 2,
  });
  const property = fc.asyncProperty(phases, async (parts) => {
    vi.setSystemTime(T0);
    const name = newLedgerName();
    let count = 0;
    for (const [phase, commands] of parts.entries()) {
      if (phase > 0) await evictDurableObject(ledgerCalled(name));
      await inLedger(name, (inside) => {
        const rows = () =>
          inside.sql("SELECT id, status, token, guard_key FROM task ORDER BY created_at_ms, id");
        const live = (key: string) =>
          rows().filter((row) => row.guard_key === key && !isFinal(row.status as "queued"));
        for (const given of commands) {
          const all = rows();
          if (given.do === "pass") pass(400);
          else if (given.do === "alarm") inside.object.alarm();
          else if (given.do === "submit") {
            const guard = { is: "unique" as const, ...given, key: `unique guarded ${given.key}` };
            const [holder] = live(guard.key);
            const runAtMs = given.delayMs === 0 ? 0 : Date.now() + given.delayMs;
            const id = `t${String(count++).padStart(3, "0")}`;
            const placed = inside.object.submitGuarded([
              newTask("guarded", id, { guard, lane: given.lane, runAtMs }),
            ]);
            if (Array.isArray(placed))
              expect(live(guard.key).length + (placed[0]?.is === "kept" ? 1 : 0)).toBeGreaterThan(0);
            else if (holder) expect(placed.holder).toBe(holder.id);
          } else {
            const row = all[given.pick % Math.max(1, all.length)];
            const id = typeof row?.id === "string" ? row.id : "";
            if (row && given.do === "cancel") inside.object.cancel(id);
            if (row && given.do === "retry") inside.object.retry(id);
            if (row && given.do === "remove") inside.object.remove(id);
            if (row && given.do === "report")
              inside.object.report([{ taskId: id, token: Number(row.token), outcome: SUCCESS }]);
          }
          for (const key of ["a", "b"]) expect(live(`unique guarded ${key}`).length).toBeLessThanOrEqual(1);
        }
      });
    }
  });
  await fc.assert(property, { numRuns: 20 });
});
