/** Which ledger a task is in: the id alone says so, and what has a shard keeps it for ever. */

import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { Problem } from "../../../src/kernel/problem.ts";
import { RESTART_PAUSES_MS } from "../../../src/kernel/retry.ts";
import { callObject } from "../../../src/tasks/ledger/shards.ts";
import {
  anyShard,
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

test.each(SHARDS)("an id that is made on %s leads back there", (shard) => {
  expect(shardOf(newTaskId(shard))).toBe(shard);
  expect(shardOf(taskIdOfKey(shard, "key"))).toBe(shard);
});

describe("the shard of an id", () => {
  test.each([
    [`s0-${UUID}`, "s0"],
    [`s3-${UUID}`, "s3"],
    [`s4-${UUID}`, undefined],
    [`s00-${UUID}`, undefined],
    [`x0-${UUID}`, undefined],
    [UUID, undefined],
    [`s0-${UUID}0`, undefined],
    [`s0-${UUID.slice(1)}`, undefined],
    [`s0-${UUID.toUpperCase()}`, undefined],
    [`s0-${UUID}\n`, undefined],
    [` s0-${UUID}`, undefined],
    ["", undefined],
  ])("%j: %s", (id, shard) => {
    expect(shardOf(id)).toBe(shard);
  });
});

test("a key makes the same id for ever, and another key or shard another", () => {
  expect(taskIdOfKey("s0", "key")).toBe("s0-78e9faed-0ea4-54cf-ad80-5e5363e3bade");
  expect(new Set([taskIdOfKey("s0", "key"), taskIdOfKey("s1", "key"), taskIdOfKey("s0", "kex")]).size).toBe(
    3,
  );
});

test("a name leads to the same shard for ever", () => {
  const names = ["task_a", "task_b", "verify-file", "callback", "", "ü"];
  expect(names.map(shardOfName)).toEqual(["s3", "s0", "s0", "s2", "s3", "s0"]);
});

test("names, and tasks that may be anywhere, are on all shards, about as many on each", () => {
  for (const make of [(n: number) => shardOfName(`name ${n}`), anyShard]) {
    const counts = new Map<string, number>();
    for (let n = 0; n < 4_000; n++) counts.set(make(n), (counts.get(make(n)) ?? 0) + 1);
    expect([...counts.keys()].toSorted()).toEqual(SHARDS);
    for (const count of counts.values()) expect(count).toBeGreaterThan(500);
  }
});

test("just a type with a cap has a shard of its own", () => {
  const body = { input: z.unknown(), run: async () => null };
  const capped = defineTask({ ...body, name: "shards-capped", concurrency: 1 });
  const free = defineTask({ ...body, name: "shards-free" });
  expect(SHARDS.map((shard) => shardOfType(free, shard))).toEqual(SHARDS);
  expect(new Set(SHARDS.map((shard) => shardOfType(capped, shard)))).toEqual(
    new Set([shardOfName("shards-capped")]),
  );
});

test("ids that are made later are greater, so that lists of the same millisecond are in the order of making", () => {
  const ids = Array.from({ length: 100 }, () => newTaskId("s0"));
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(ids).size).toBe(100);
});

/** Pauses are noted, and take no time. */
function hurry(): number[] {
  const pausesMs: number[] = [];
  vi.spyOn(scheduler, "wait").mockImplementation(async (ms) => void pausesMs.push(ms));
  return pausesMs;
}

describe("a question to a ledger", () => {
  /** One that is answered after so many failures. */
  function question(failures: number) {
    const asked = { times: 0 };
    const put = async () => {
      if (++asked.times <= failures) throw new Error("the ledger restarts");
      return asked.times;
    };
    return { asked, put };
  }
  const MOST = 1 + RESTART_PAUSES_MS.length;

  test.each([0, 1, MOST - 1])("that is answered after %s failures has an answer", async (failures) => {
    const pausesMs = hurry();
    expect(await callObject(question(failures).put)).toBe(failures + 1);
    expect(pausesMs).toHaveLength(failures);
  });

  test.each([
    ["over and over, for about three seconds", undefined, MOST],
    ["once, if it must not be repeated", "once" as const, 1],
  ])("that is not answered is asked %s; then its caller is to come again", async (_, mayRepeat, times) => {
    const pausesMs = hurry();
    const { asked, put } = question(MOST);
    const { value: error, lines } = await captureLogs(async () =>
      callObject(put, mayRepeat).catch((thrown: unknown) => thrown),
    );
    if (!(error instanceof Problem)) throw new Error("it is no Problem");
    expect([error.status, error.kind, error.options.headers]).toEqual([
      503,
      "ledger-unavailable",
      { "Retry-After": "1" },
    ]);
    expect([asked.times, pausesMs.length]).toEqual([times, times - 1]);
    if (times > 1) expect(pausesMs.reduce((sum, ms) => sum + ms)).toBeGreaterThan(1_300);
    expect(lines).toMatchObject([
      {
        level: "error",
        message: "an object that keeps tasks or schedules does not answer",
        error: "Error: the ledger restarts",
      },
    ]);
  });
});

describe("while the ledger does not answer", () => {
  const JSON_BODY = { headers: { "Content-Type": "application/json" }, body: '{"type":"task_a"}' };
  const ROUTES: [method: string, path: string, call: string, times: number, more?: RequestInit][] = [
    ["GET", "/tasks", "list", 1 + RESTART_PAUSES_MS.length],
    ["GET", "/tasks/{id}", "getTask", 1 + RESTART_PAUSES_MS.length],
    ["GET", "/tasks/{id}/events", "watch", 1 + RESTART_PAUSES_MS.length],
    ["POST", "/tasks/{id}/cancel", "cancel", 1 + RESTART_PAUSES_MS.length],
    ["POST", "/tasks/retry", "retryFailed", 1 + RESTART_PAUSES_MS.length, JSON_BODY],
    // A second of these would find that it is done, and say that it cannot be.
    ["POST", "/tasks/{id}/retry", "retry", 1],
    ["DELETE", "/tasks/{id}", "remove", 1],
  ];

  test.each(ROUTES)("%s %s says so, and when to come again", async (method, path, call, times, more = {}) => {
    hurry();
    const id = await submitted({ type: "task_a", delay: 60 });
    const asked: string[] = [];
    const variables = brokenLedger(call, (shard) => asked.push(shard) > 0);
    const options = { ...(more as object), method, variables };
    const { status, headers, body } = await callForJson(path.replace("{id}", id), options);
    expect([status, body.type, headers.get("Retry-After")]).toEqual([
      503,
      "urn:sluice:problem:ledger-unavailable",
      "1",
    ]);
    expect(asked.filter((shard) => shard === (path.includes("{id}") ? shardOf(id) : "s0"))).toHaveLength(
      times,
    );
    expect(await taskOf(id)).toMatchObject({ status: "scheduled" });
  });

  test.each(ROUTES.filter(([, , , times]) => times > 1))(
    "for a moment, %s %s does as it does otherwise",
    async (method, path, call, times, more = {}) => {
      hurry();
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
