/** Which shard a task is on: the id alone says so, and a task never moves to another. */

import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { RESTART_PAUSES_MS } from "../../../src/kernel/objects.ts";
import { Problem } from "../../../src/kernel/problem.ts";
import { callLedger } from "../../../src/tasks/ledger/shards.ts";
import {
  anyShard,
  leaveShard,
  newTaskId,
  SHARDS,
  shardOf,
  shardOfName,
  shardOfType,
  taskIdOfKey,
} from "../../../src/tasks/ledger/task-id.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { callForJson, callWorker, captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { brokenLedger, submitted, taskOf } from "../../support/submissions.ts";

keepQuiet();
afterEach(() => {
  vi.restoreAllMocks();
});

const UUID = "0198c0de-1234-7abc-8def-0123456789ab";

test.each(SHARDS)("an id created on %s leads back to it", (shard) => {
  expect(shardOf(newTaskId(shard))).toBe(shard);
  expect(shardOf(taskIdOfKey(shard, "key"))).toBe(shard);
});

describe("the shard of the id", () => {
  test.each([
    [`s0-${UUID}`, "s0"],
    [`s3-${UUID}`, "s3"],
    [`s4-${UUID}`, undefined],
    [`s00-${UUID}`, undefined],
    [`x0-${UUID}`, undefined],
    [`weur0-${UUID}`, "weur0"],
    [`me3-${UUID}`, "me3"],
    [`me4-${UUID}`, undefined],
    [UUID, undefined],
    [`s0-${UUID}0`, undefined],
    [`s0-${UUID.slice(1)}`, undefined],
    [`s0-${UUID.toUpperCase()}`, undefined],
    [`s0-${UUID}\n`, undefined],
    [` s0-${UUID}`, undefined],
    ["", undefined],
  ])("%j is %s", (id, shard) => {
    expect(shardOf(id)).toBe(shard);
  });
});

test("a key on a shard always gives the same id; another key or shard gives another", () => {
  expect(taskIdOfKey("s0", "key")).toBe("s0-78e9faed-0ea4-54cf-ad80-5e5363e3bade");
  expect(new Set([taskIdOfKey("s0", "key"), taskIdOfKey("s1", "key"), taskIdOfKey("s0", "kex")]).size).toBe(
    3,
  );
});

test("a name always leads to the same shard", () => {
  const names = ["task_a", "task_b", "verify-file", "callback", "", "ü"];
  expect(names.map(shardOfName)).toEqual(["s3", "s0", "s0", "s2", "s3", "s0"]);
});

test("names, and tasks that need not start here, spread evenly over all shards", () => {
  for (const make of [(n: number) => shardOfName(`name ${n}`), () => anyShard({}, ["weur"], false)]) {
    const counts = new Map<string, number>();
    for (let n = 0; n < 4_000; n++) counts.set(make(n), (counts.get(make(n)) ?? 0) + 1);
    expect([...counts.keys()].toSorted()).toEqual(SHARDS);
    for (const count of counts.values()) expect(count).toBeGreaterThan(500);
  }
});

test("tasks that start here are all on one shard, until one does not respond", () => {
  const home = () => anyShard({}, [], true);
  const first = home();
  expect(new Set(Array.from({ length: 100 }, home))).toEqual(new Set([first]));
  const others = new Set<string>();
  for (let n = 0; n < 100; n++) {
    leaveShard();
    others.add(home());
  }
  expect([...others].toSorted()).toEqual(SHARDS);
});

test("a type has a shard of its own only if it has a concurrency", () => {
  const body = { input: z.unknown(), run: async () => null };
  const capped = defineTask({ ...body, name: "shards-capped", concurrency: 1 });
  const free = defineTask({ ...body, name: "shards-free" });
  expect(SHARDS.map((shard) => shardOfType(free, shard))).toEqual(SHARDS);
  expect(new Set(SHARDS.map((shard) => shardOfType(capped, shard)))).toEqual(
    new Set([shardOfName("shards-capped")]),
  );
});

test("later ids are greater, so that tasks of the same millisecond are listed in order of creation", () => {
  const ids = Array.from({ length: 100 }, () => newTaskId("s0"));
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(ids).size).toBe(100);
});

/** Makes every pause take no time, and records it. */
function skipPauses(): number[] {
  const pausesMs: number[] = [];
  vi.spyOn(scheduler, "wait").mockImplementation(async (ms) => void pausesMs.push(ms));
  return pausesMs;
}

describe("a call to an object", () => {
  /** A call that succeeds after this many failures. */
  function flaky(failures: number) {
    const calls = { count: 0 };
    const call = async () => {
      if (++calls.count <= failures) throw new Error("the ledger restarts");
      return calls.count;
    };
    return { calls, call };
  }
  const MAX_CALLS = 1 + RESTART_PAUSES_MS.length;

  test.each([0, 1, MAX_CALLS - 1])("that succeeds after %s failures returns its result", async (failures) => {
    const pausesMs = skipPauses();
    expect(await callLedger(flaky(failures).call)).toBe(failures + 1);
    expect(pausesMs).toHaveLength(failures);
  });

  test.each([
    ["is repeated for about three seconds", undefined, MAX_CALLS],
    ["is made once, if it must not be repeated,", "once" as const, 1],
  ])("that keeps failing %s and ends in a 503 with Retry-After", async (_, mayRepeat, times) => {
    const pausesMs = skipPauses();
    const { calls, call } = flaky(MAX_CALLS);
    const { value: error, lines } = await captureLogs(async () =>
      callLedger(call, mayRepeat).catch((thrown: unknown) => thrown),
    );
    if (!(error instanceof Problem)) throw new Error("it is no Problem");
    expect([error.status, error.kind, error.options.headers]).toEqual([
      503,
      "ledger-unavailable",
      { "Retry-After": "1" },
    ]);
    expect([calls.count, pausesMs.length]).toEqual([times, times - 1]);
    if (times > 1) expect(pausesMs.reduce((sum, ms) => sum + ms)).toBeGreaterThan(1_300);
    expect(lines).toMatchObject([
      {
        level: "error",
        message: "an object that keeps tasks or schedules does not respond",
        error: "Error: the ledger restarts",
      },
    ]);
  });
});

describe("while the ledger does not respond", () => {
  const JSON_BODY = { headers: { "Content-Type": "application/json" }, body: '{"type":"task_a"}' };
  const ROUTES: [method: string, path: string, call: string, times: number, more?: RequestInit][] = [
    ["GET", "/tasks", "list", 1 + RESTART_PAUSES_MS.length],
    ["GET", "/tasks/{id}", "getTask", 1 + RESTART_PAUSES_MS.length],
    ["GET", "/tasks/{id}/events", "watch", 1 + RESTART_PAUSES_MS.length],
    ["POST", "/tasks/{id}/cancel", "cancel", 1 + RESTART_PAUSES_MS.length],
    ["POST", "/tasks/retry", "retryFailed", 1 + RESTART_PAUSES_MS.length, JSON_BODY],
    // A repeated call would find the work done, and report a conflict.
    ["POST", "/tasks/{id}/retry", "retry", 1],
    ["DELETE", "/tasks/{id}", "remove", 1],
  ];

  test.each(ROUTES)("%s %s returns a 503 with Retry-After", async (method, path, call, times, more = {}) => {
    skipPauses();
    const id = await submitted({ type: "task_a", delay: 60 });
    const called: string[] = [];
    const variables = brokenLedger(call, (shard) => called.push(shard) > 0);
    const options = { ...(more as object), method, variables };
    const { status, headers, body } = await callForJson(path.replace("{id}", id), options);
    expect([status, body.type, headers.get("Retry-After")]).toEqual([
      503,
      "urn:sluice:problem:ledger-unavailable",
      "1",
    ]);
    expect(called.filter((shard) => shard === (path.includes("{id}") ? shardOf(id) : "s0"))).toHaveLength(
      times,
    );
    expect(await taskOf(id)).toMatchObject({ status: "scheduled" });
  });

  test.each(ROUTES.filter(([, , , times]) => times > 1))(
    "and recovers in time, %s %s works as usual",
    async (method, path, call, times, more = {}) => {
      skipPauses();
      const id = await submitted({ type: "task_a", delay: 60 });
      const failures = new Map<string, number>();
      const isBroken = (shard: string) => {
        failures.set(shard, (failures.get(shard) ?? 0) + 1);
        return (failures.get(shard) ?? 0) < times;
      };
      const variables = brokenLedger(call, isBroken);
      const { response } = await callWorker(path.replace("{id}", id), {
        ...(more as object),
        method,
        variables,
      });
      expect(response.status).toBe(200);
      expect([...failures.values()]).toContain(times);
      await response.body?.cancel();
    },
  );
});
