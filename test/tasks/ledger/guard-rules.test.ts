/** Thousands of random histories of guarded submissions: what must be true of their keys, whatever happens in between. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { NewTask } from "../../../src/tasks/ledger/claim.ts";
import { decide, decideAll, type Holder } from "../../../src/tasks/ledger/guard-rules.ts";
import { isFinal } from "../../../src/tasks/ledger/task-state.ts";
import { CONFLICT_POLICIES, type Guard } from "../../../src/tasks/types/guards.ts";

const T0 = 1_000_000;

interface Task extends Holder {
  key: string;
  /** What it would run with: the number of the submission that it is. */
  input: number;
  submittedMs: number[];
}

const unique = fc.record({
  is: fc.constant("unique" as const),
  key: fc.constantFrom("unique a", "unique b"),
  withinMs: fc.constantFrom(0, 50, 200),
  onConflict: fc.constantFrom(...CONFLICT_POLICIES),
});
const debounce = fc
  .record({
    key: fc.constantFrom("debounce a", "debounce b"),
    waitMs: fc.constantFrom(10, 40),
    factor: fc.nat(4),
  })
  .map(({ key, waitMs, factor }) => ({
    is: "debounce" as const,
    key,
    waitMs,
    maxWaitMs: waitMs * (1 + factor),
  }));
const command = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("submit" as const), guard: fc.oneof(unique, debounce) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.constantFrom(1, 9, 30, 100) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("begin" as const, "succeed" as const, "fail" as const, "cancel" as const),
      pick: fc.nat(20),
    }),
  },
);
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never;

class World {
  nowMs = T0;
  readonly tasks: Task[] = [];
  readonly holders = new Map<string, Task>();
  submissions = 0;

  obey(given: Command): void {
    if (given.do === "pass") this.nowMs += given.ms;
    else if (given.do === "submit") this.submit(given.guard, ++this.submissions);
    else this.change(this.tasks[given.pick % Math.max(1, this.tasks.length)], given.do);
    for (const task of this.tasks)
      if (task.status === "scheduled" && (task.due_at_ms ?? 0) <= this.nowMs) this.queue(task);
  }

  /** What is due is queued at once, or, as here, a little later: the rules must not depend on that. */
  queue(task: Task): void {
    if (this.submissions % 2 === 0) Object.assign(task, { status: "queued", due_at_ms: null });
  }

  change(task: Task | undefined, to: "begin" | "succeed" | "fail" | "cancel"): void {
    if (!task || isFinal(task.status)) return;
    if (to === "begin" && task.status === "queued") Object.assign(task, { status: "running", token: 1 });
    if (to === "cancel") task.status = task.status === "running" ? "cancelling" : "cancelled";
    else if (task.status === "cancelling") task.status = "cancelled";
    else if (task.status === "running" && to !== "begin")
      task.status = to === "succeed" ? "succeeded" : "failed";
  }

  submit(guard: Guard, input: number): void {
    const holder = this.holders.get(guard.key);
    const before = holder && { ...holder };
    const decision = decide(guard, holder, this.nowMs);
    if (decision.is === "new") {
      const replaced = this.tasks.find(({ id }) => id === decision.replaces);
      if (replaced) {
        expect([replaced.token, isFinal(replaced.status)]).toEqual([0, false]);
        replaced.status = "cancelled";
      }
      const runAtMs = decision.runAtMs ?? this.nowMs;
      const task: Task = {
        id: `t${input}`,
        key: guard.key,
        created_at_ms: this.nowMs,
        status: runAtMs > this.nowMs ? "scheduled" : "queued",
        token: 0,
        due_at_ms: runAtMs > this.nowMs ? runAtMs : null,
        input,
        submittedMs: [this.nowMs],
      };
      this.tasks.push(task);
      this.holders.set(guard.key, task);
    }
    if (decision.is === "debounced" && holder) {
      holder.input = input;
      holder.due_at_ms = decision.runAtMs;
      holder.submittedMs.push(this.nowMs);
    }
    this.check(guard, decision, before);
  }

  check(guard: Guard, decision: ReturnType<typeof decide>, before: Task | undefined): void {
    const live = this.tasks.filter(({ key, status }) => key === guard.key && !isFinal(status));
    if (guard.is === "debounce") {
      expect(decision.is).toBeOneOf(["new", "debounced"]);
      const holder = this.holders.get(guard.key) ?? expect.fail();
      // The last input is what runs, after the last submission, and not much after the first.
      expect(holder.input).toBe(this.submissions);
      const latestMs = Math.max(this.nowMs, holder.created_at_ms + guard.maxWaitMs);
      expect(holder.due_at_ms).toBe(Math.min(this.nowMs + guard.waitMs, latestMs));
      if (decision.is === "debounced") expect(before?.token).toBe(0);
      return;
    }
    expect(live.length).toBeLessThanOrEqual(1);
    const isFree =
      !before || (isFinal(before.status) && before.status !== "succeeded" && before.status !== "failed");
    if (isFree) expect(decision).toEqual({ is: "new" });
    if (decision.is === "kept")
      expect([guard.onConflict, before?.status === "cancelling"]).toEqual(["keep", false]);
    if (guard.onConflict === "reject" && before && !isFinal(before.status))
      expect(decision.is).toBe("rejected");
    if (before && isFinal(before.status) && this.nowMs - before.created_at_ms >= guard.withinMs)
      expect(decision).toEqual({ is: "new" });
  }
}

test("a unique key has at most one live task, and a debounce runs what was submitted last, in its time", () => {
  const property = fc.property(fc.array(command, { minLength: 5, maxLength: 60 }), (commands) => {
    const world = new World();
    for (const given of commands) world.obey(given);
  });
  fc.assert(property, { numRuns: 2_000 });
});

const HELD = { id: "first", created_at_ms: T0, due_at_ms: null, token: 0 };
const KEEP: Guard = { is: "unique", key: "k", withinMs: 100, onConflict: "keep" };

test.each<[string, Partial<Guard>, Partial<Holder>, object]>([
  ["a waiting first is kept", {}, { status: "queued" }, { is: "kept", id: "first" }],
  ["one that has ended is kept within the time", {}, { status: "failed" }, { is: "kept", id: "first" }],
  ["one that was cancelled holds no key", {}, { status: "cancelled" }, { is: "new" }],
  [
    "a waiting first is replaced",
    { onConflict: "replace" },
    { status: "scheduled" },
    { is: "new", replaces: "first" },
  ],
  [
    "one that has begun is not replaced, also while it waits for its next attempt",
    { onConflict: "replace" },
    { status: "scheduled", token: 2 },
    { is: "rejected", id: "first", why: "has begun" },
  ],
  [
    "one that has ended need not be replaced",
    { onConflict: "replace" },
    { status: "succeeded" },
    { is: "new" },
  ],
  [
    "a second is rejected",
    { onConflict: "reject" },
    { status: "running" },
    { is: "rejected", id: "first", why: "is held" },
  ],
  [
    "nothing is kept that is being cancelled",
    {},
    { status: "cancelling", token: 1 },
    { is: "rejected", id: "first", why: "is being cancelled" },
  ],
])("%s", (_, guard, holder, decision) => {
  const whole = { ...HELD, status: "queued" as const, ...holder };
  expect(decide({ ...KEEP, ...guard } as Guard, whole, T0 + 50)).toEqual(decision);
});

const task = (id: string, guard: Guard, more: Partial<NewTask> = {}): NewTask => ({
  id,
  type: "t",
  input: "1",
  priority: 0,
  runAtMs: 0,
  callbackUrl: null,
  lane: null,
  guard,
  ...more,
});

test("tasks of one batch meet each other, and one that is rejected has none of them written", () => {
  const none = { exists: () => false, holderOf: () => undefined };
  const reject: Guard = { ...KEEP, onConflict: "reject" };
  const wait: Guard = { is: "debounce", key: "d", waitMs: 10, maxWaitMs: 15 };
  expect(decideAll([task("a", KEEP), task("b", KEEP), task("c", wait), task("d", wait)], none, T0)).toEqual([
    { is: "new" },
    { is: "kept", id: "a" },
    { is: "new", runAtMs: T0 + 10 },
    { is: "debounced", id: "c", runAtMs: T0 + 10 },
  ]);
  expect(decideAll([task("a", KEEP), task("b", reject)], none, T0)).toEqual({
    at: 1,
    holder: "a",
    why: "is held",
  });
  const replace: Guard = { ...KEEP, onConflict: "replace" };
  expect(decideAll([task("a", replace), task("b", replace)], none, T0)).toMatchObject([
    {},
    { replaces: "a" },
  ]);
  // One that may start at once has begun.
  expect(decideAll([task("a", replace, { lane: "fast" }), task("b", replace)], none, T0)).toMatchObject({
    why: "has begun",
  });
});

test("a submission that comes again is what it was", () => {
  const there = {
    exists: (id: string) => id === "a",
    holderOf: () => ({ ...HELD, id: "z", status: "queued" as const }),
  };
  expect(decideAll([task("a", KEEP), task("b", KEEP)], there, T0)).toEqual([
    { is: "new" },
    { is: "kept", id: "z" },
  ]);
});
