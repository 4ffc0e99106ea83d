import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type Waiter, WaitQueue } from "../../../src/outbound/semaphore/wait-queue.ts";

const step = fc.oneof(
  fc.record({ do: fc.constant("join" as const), id: fc.nat(9).map(String), arrivedAtMs: fc.nat(20) }),
  fc.record({ do: fc.constant("leave" as const), id: fc.nat(9).map(String) }),
);

test("is sorted by first arrival; waiters that arrived together keep their order", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new WaitQueue();
      let model: Waiter[] = [];
      for (const s of steps) {
        const isIn = model.some((waiter) => waiter.leaseId === s.id);
        if (s.do === "leave") {
          expect(queue.leave(s.id)).toBe(isIn);
          model = model.filter((waiter) => waiter.leaseId !== s.id);
        } else if (!isIn) {
          const waiter: Waiter = {
            leaseId: s.id,
            arrivedAtMs: s.arrivedAtMs,
            leaseMs: 1,
            holder: "",
            priority: "interactive",
          };
          queue.join(waiter);
          model = [...model, waiter].toSorted((a, b) => a.arrivedAtMs - b.arrivedAtMs);
        }
        expect([...queue]).toEqual(model);
        expect([queue.length, queue.first, queue.get(s.id)]).toEqual([
          model.length,
          model[0],
          model.find((waiter) => waiter.leaseId === s.id),
        ]);
      }
    }),
    { numRuns: 2000 },
  );
});
