import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  HEARTBEAT_MS,
  LEASE_MS,
  mayReport,
  statusAt,
  TASK_STATUSES,
  type TaskState,
} from "../../src/tasks/rules.ts";

const state = fc.record<TaskState>({
  status: fc.constantFrom(...TASK_STATUSES),
  token: fc.integer({ min: 1, max: 5 }),
  lease_ends_at_ms: fc.integer({ min: 0, max: 100 }),
});
const nowMs = fc.integer({ min: 0, max: 100 });

describe("statusAt", () => {
  test("a task that runs is lost exactly when its lease is over", () => {
    fc.assert(
      fc.property(state, nowMs, (task, now) => {
        const expected = task.lease_ends_at_ms > now ? "running" : "lost";
        expect(statusAt({ ...task, status: "running" }, now)).toBe(expected);
      }),
    );
  });

  test("time changes nothing about a task that does not run", () => {
    fc.assert(
      fc.property(state, nowMs, (task, now) => {
        fc.pre(task.status !== "running");
        expect(statusAt(task, now)).toBe(task.status);
      }),
    );
  });
});

describe("mayReport", () => {
  test("only the latest token counts", () => {
    fc.assert(
      fc.property(state, fc.integer({ min: 1, max: 5 }), (task, token) => {
        if (token !== task.token) expect(mayReport(task, token)).toBe(false);
      }),
    );
  });

  test.each([
    ["running", true],
    ["lost", true],
    ["succeeded", false],
    ["failed", false],
  ] as const)("with the latest token, a task that is %s: %s", (status, allowed) => {
    expect(mayReport({ status, token: 3, lease_ends_at_ms: 0 }, 3)).toBe(allowed);
  });
});

test("a claim outlives two missed heartbeats", () => {
  expect(LEASE_MS).toBeGreaterThan(2 * HEARTBEAT_MS);
});
