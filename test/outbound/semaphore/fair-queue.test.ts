/** Who is next: first come, first served within a class; neither class starves the other. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FairQueue } from "../../../src/outbound/semaphore/fair-queue.ts";
import { PRIORITIES, type Priority, type Waiter } from "../../../src/outbound/semaphore/wait-queue.ts";

const waiterOf = (leaseId: string, priority: Priority, arrivedAtMs = 0): Waiter => ({
  leaseId,
  priority,
  arrivedAtMs,
  leaseMs: 1,
  holder: "",
});

/** A queue of these, in the order of arrival: `i` is interactive, `b` is background. */
function queueOf(classes: string): FairQueue {
  const queue = new FairQueue();
  for (const [n, c] of classes.split("").entries())
    queue.join(waiterOf(`${c}${n}`, c === "i" ? "interactive" : "background", n));
  return queue;
}

function takeNext(queue: FairQueue): Waiter | undefined {
  const next = queue.next(0);
  if (next) queue.take(next, 0);
  return next;
}

function takeAll(queue: FairQueue): string {
  let order = "";
  for (let next = takeNext(queue); next; next = takeNext(queue)) order += next.leaseId[0];
  return order;
}

describe("waiters", () => {
  test.each([
    ["", ""],
    ["iii", "iii"],
    ["bbb", "bbb"],
    ["bi", "ib"],
    ["iiiiiiiiiibb", "iiiibiiiibii"],
    ["bbbiiiiiiiiii", "iiiibiiiibiib"],
    ["iiiiiiiib", "iiiibiiii"],
    ["bbbbbbi", "ibbbbbb"],
  ])("%s are taken in the order %s", (classes, order) => {
    expect(takeAll(queueOf(classes))).toBe(order);
  });
});

test("the oldest is the first to arrive, of either class", () => {
  expect(queueOf("").oldest).toBeUndefined();
  expect(queueOf("bi").oldest?.leaseId).toBe("b0");
  expect(queueOf("ib").oldest?.leaseId).toBe("i0");
  expect(queueOf("bbb").oldest?.leaseId).toBe("b0");
});

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("join" as const),
      priority: fc.constantFrom(...PRIORITIES),
      lateMs: fc.nat({ max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), pick: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("take" as const) }) },
);

test("whatever happens: in order within a class; while both wait, one of any five in a row is background", () => {
  let windows = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => {
      const queue = new FairQueue();
      let model: Waiter[] = [];
      /** The classes taken in a row while both waited. */
      let row: Priority[] = [];
      for (const [n, s] of steps.entries()) {
        if (s.do === "join") {
          // A little out of order, as after a restart.
          const waiter = waiterOf(`w${n}`, s.priority, Math.max(0, n - s.lateMs));
          queue.join(waiter);
          model = [...model, waiter].toSorted((a, b) => a.arrivedAtMs - b.arrivedAtMs);
        } else if (s.do === "leave") {
          const leaseId = model[s.pick % model.length]?.leaseId ?? "nobody";
          queue.leave(leaseId);
          model = model.filter((waiter) => waiter.leaseId !== leaseId);
        } else {
          const firsts = PRIORITIES.map((priority) => model.find((waiter) => waiter.priority === priority));
          const taken = takeNext(queue);
          expect(taken === undefined ? firsts.every((first) => !first) : firsts.includes(taken)).toBe(true);
          model = model.filter((waiter) => waiter !== taken);
          row = taken && firsts.every(Boolean) ? [...row, taken.priority].slice(-5) : [];
          if (row.length === 5) {
            windows++;
            expect(row.filter((priority) => priority === "background")).toHaveLength(1);
          }
        }
        expect(queue.length).toBe(model.length);
        expect([...queue]).toEqual(PRIORITIES.flatMap((p) => model.filter(({ priority }) => priority === p)));
        expect(queue.oldest?.arrivedAtMs).toBe(model[0]?.arrivedAtMs);
        for (const waiter of model) expect(queue.get(waiter.leaseId)).toBe(waiter);
      }
    }),
    { numRuns: 200 },
  );
  expect(windows).toBeGreaterThan(100);
});
