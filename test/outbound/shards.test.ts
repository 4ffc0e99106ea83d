/** An upstream whose semaphore is four objects, through the Worker's front door. */
import {
  abortAllDurableObjects,
  createExecutionContext,
  env,
  reset,
  waitOnExecutionContext,
} from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { fetchUpstream } from "../../src/outbound/index.ts";
import type { SemaphoreStatus } from "../../src/outbound/semaphore/status.ts";
import { type CallOptions, callForJson, callWorker, captureLogs } from "../support/call.ts";
import { keepQuiet } from "../support/quiet.ts";
import { expectRuntimeErrors } from "../support/runtime-errors.ts";
import { holdUpstream, resetUpstream, upstream } from "../support/scripted-upstream.ts";
import { taskContext } from "../support/task-context.ts";
import { acquireFrom } from "../support/upstreams.ts";
import worker from "../support/worker.ts";

keepQuiet();
expectRuntimeErrors("it is away", "Network connection lost");
beforeEach(async () => {
  await reset();
  resetUpstream();
});

const LIMIT = 6;
/** So many calls at once use all permits. Of ten, chance leaves a shard without a call in one of fourteen runs. */
const CROWD = 40;
const shardOf = (name: string, shard: number) => env.SEMAPHORE.getByName(`${name}#${shard}`);
const statusOf = async (name: string, options?: CallOptions) => {
  const { status: code, body } = await callForJson(`/upstreams/${name}`, options);
  return { code, body: body as unknown as SemaphoreStatus & { detail: string } };
};
const patch = async (name: string, change: object, options: CallOptions = {}) =>
  callForJson(`/upstreams/${name}`, {
    method: "PATCH",
    body: JSON.stringify(change),
    headers: { "Content-Type": "application/json" },
    ...options,
  });
/** From an isolate that has known nothing before the test: an isolate is known by its bindings. */
let bindings = env;
beforeEach(() => {
  bindings = { ...env };
});
async function call(name: string, { variables }: CallOptions = {}) {
  const ctx = createExecutionContext();
  const request = new Request<unknown, IncomingRequestCfProperties>(`http://localhost/fetch/${name}/x`);
  const from = variables ? Object.assign(bindings, variables) : bindings;
  const response = await worker.fetch(request, from, ctx);
  const body = await response.json<Record<string, unknown>>();
  await waitOnExecutionContext(ctx);
  return { status: response.status, body };
}
const calls = (name: string, count: number) => Array.from({ length: count }, async () => call(name));

/** Objects may take a moment to start. */
const soon = <T>(look: () => T) => expect.poll(look, { timeout: 5_000 });

/** Semaphores, some of which are away. */
const without = (...names: string[]): CallOptions => ({
  variables: {
    SEMAPHORE: {
      idFromName: (name: string) => env.SEMAPHORE.idFromName(name),
      getByName: (name: string) => {
        // As if its code had thrown: such a call is not repeated.
        const away = async () => Promise.reject(Object.assign(new Error("it is away"), { remote: true }));
        return names.includes(name)
          ? { acquire: away, status: away, configure: away, events: away }
          : env.SEMAPHORE.getByName(name);
      },
    },
  },
});
const ALL = [0, 1, 2, 3].map((shard) => `sharded#${shard}`);

describe("calls", () => {
  test("use all permits of all shards, and never more", async () => {
    const open = holdUpstream();
    const made = calls("sharded", CROWD);
    await soon(() => upstream.inFlight).toBe(LIMIT);
    const { body } = await statusOf("sharded");
    expect(body).toMatchObject({
      concurrency: LIMIT,
      held: { count: LIMIT },
      waiting: { count: CROWD - LIMIT },
    });
    expect(body.shards?.responding.map(({ concurrency, held }) => [concurrency, held])).toEqual([
      [2, 2],
      [2, 2],
      [1, 1],
      [1, 1],
    ]);
    open();
    for (const { status } of await Promise.all(made)) expect(status).toBe(200);
    expect(upstream.maxInFlight).toBe(LIMIT);
    expect((await statusOf("sharded")).body).toMatchObject({
      held: { count: 0 },
      waiting: { count: 0 },
      totals: { granted: CROWD, outcomes: { ok: CROWD } },
    });
    expect(await env.SEMAPHORE.getByName("sharded").status()).toMatchObject({ totals: { granted: 0 } });
  });

  test("keep to the limit while all objects restart again and again", async () => {
    resetUpstream(async () => {
      await scheduler.wait(20);
      return Response.json({});
    });
    const { value: made } = await captureLogs(async () => {
      const all = calls("sharded", 60);
      for (let i = 0; i < 3; i++) {
        await scheduler.wait(60);
        await abortAllDurableObjects();
      }
      return Promise.all(all);
    });
    expect(made.map(({ status }) => status)).toEqual(Array.from({ length: 60 }, () => 200));
    expect(upstream.maxInFlight).toBeLessThanOrEqual(LIMIT);
    await soon(async () => (await statusOf("sharded")).body.held.count).toBe(0);
  });

  test("of tasks go the same way, as background work", async () => {
    const open = holdUpstream();
    const made = Array.from({ length: CROWD }, async () => {
      const response = await fetchUpstream(taskContext(), "sharded", "/x");
      return response.json();
    });
    await soon(async () => (await statusOf("sharded")).body.waiting.count).toBe(CROWD - LIMIT);
    const { waiting } = (await statusOf("sharded")).body;
    expect(new Set(waiting.callers.map(({ priority }) => priority))).toEqual(new Set(["background"]));
    open();
    expect(await Promise.all(made)).toEqual(Array.from({ length: CROWD }, () => ({})));
  });

  test("are refused when the queue of neither shard has room", async () => {
    const open = holdUpstream();
    const made = calls("sharded-full", 5);
    await soon(async () => (await statusOf("sharded-full")).body.totals.refused["queue-full"]).toBe(2);
    open();
    const ended = (await Promise.all(made)).toSorted((a, b) => a.status - b.status);
    expect(ended.map(({ status }) => status)).toEqual([200, 200, 200, 200, 503]);
    expect(ended.at(-1)?.body).toMatchObject({
      type: "urn:sluice:problem:queue-full",
      detail: expect.stringContaining("2 shards"),
    });
  });

  test("begin no faster than the rate, whichever shards they go to", async () => {
    const startedAtMs = Date.now();
    for (const { status } of await Promise.all(calls("sharded-rate", 20))) expect(status).toBe(200);
    // Of 20 calls, 5 begin at once and the others at 100 a second.
    expect(Date.now() - startedAtMs).toBeGreaterThanOrEqual(((20 - 5) * 1000) / 100);
  });
});

describe("a shard that does not respond", () => {
  test("is passed by: its calls go to others", async () => {
    const { value } = await captureLogs(async () =>
      Promise.all(Array.from({ length: 8 }, async () => call("sharded", without("sharded#0", "sharded#1")))),
    );
    // Two at random may both be away.
    const statuses = new Set(value.map(({ status }) => status));
    expect(statuses.has(200)).toBe(true);
    const one = await captureLogs(async () =>
      Promise.all(Array.from({ length: 8 }, async () => call("sharded", without("sharded#2")))),
    );
    expect(one.value.map(({ status }) => status)).toEqual(Array(8).fill(200));
  });

  test("is named in the status, and hides nothing else", async () => {
    const { value, lines } = await captureLogs(async () => statusOf("sharded", without("sharded#2")));
    expect([value.code, value.body.concurrency, value.body.shards?.lost]).toEqual([200, LIMIT, [2]]);
    expect(lines).toContainEqual(expect.objectContaining({ message: "semaphore unavailable" }));
    const list = await captureLogs(async () => callForJson("/upstreams", without("sharded#2")));
    const { upstreams, unavailable } = list.value.body as {
      upstreams: SemaphoreStatus[];
      unavailable: string[];
    };
    expect(unavailable).toEqual([]);
    expect(upstreams.find(({ name }) => name === "sharded")?.shards?.lost).toEqual([2]);
  });

  test("leaves an upstream unavailable if it is all of them", async () => {
    const { value } = await captureLogs(async () => statusOf("sharded", without(...ALL)));
    expect(value.code).toBe(503);
    const list = await captureLogs(async () => callForJson("/upstreams", without(...ALL)));
    expect(list.value.body.unavailable).toEqual(["sharded"]);
  });

  test("has not made a change: the caller is told to send it again", async () => {
    const { value } = await captureLogs(async () =>
      patch("sharded", { concurrency: 4 }, without("sharded#3")),
    );
    expect([value.status, value.body.detail]).toEqual([503, expect.stringContaining("Send it again")]);
    expect((await shardOf("sharded", 0).status()).concurrency).toBe(1);
    expect((await patch("sharded", { concurrency: 4 })).body).toMatchObject({ concurrency: 4 });
  });
});

describe("an operator's change", () => {
  test("comes to all shards, and survives their restart", async () => {
    expect((await patch("sharded", { concurrency: 13 })).body).toMatchObject({
      concurrency: 13,
      limitNow: 13,
      overridden: ["concurrency"],
    });
    await abortAllDurableObjects();
    const { shards } = (await statusOf("sharded")).body;
    expect(shards?.responding.map(({ concurrency }) => concurrency)).toEqual([4, 3, 3, 3]);
  });

  test("pauses all, and resumes all", async () => {
    expect((await patch("sharded", { paused: true })).body).toMatchObject({ obstacle: { is: "paused" } });
    const made = call("sharded");
    await soon(async () => (await statusOf("sharded")).body.waiting.count).toBe(0);
    expect((await made).body.type).toBe("urn:sluice:problem:paused");
    expect((await patch("sharded", { paused: null })).body).toMatchObject({ paused: false, obstacle: null });
    expect((await call("sharded")).status).toBe(200);
  });

  test("sends those on that wait at a shard which has no permits any longer", async () => {
    const open = holdUpstream();
    const made = calls("sharded", CROWD);
    await soon(async () => (await statusOf("sharded")).body.waiting.count).toBe(CROWD - LIMIT);
    await patch("sharded", { concurrency: 2 });
    await soon(async () =>
      (await statusOf("sharded")).body.shards?.responding.map(({ waiting }) => waiting > 0),
    ).toEqual([true, true, false, false]);
    open();
    expect((await Promise.all(made)).map(({ status }) => status)).toEqual(Array(CROWD).fill(200));
    expect(upstream.maxInFlight).toBe(LIMIT); // those before the change
  });

  test("may leave fewer permits than shards: calls find those that have one", async () => {
    await patch("sharded", { concurrency: 1 });
    resetUpstream(async () => {
      await scheduler.wait(5);
      return Response.json({});
    });
    const made = await Promise.all(calls("sharded", 12));
    expect(made.map(({ status }) => status)).toEqual(Array(12).fill(200));
    expect(upstream.maxInFlight).toBe(1);
  });

  test.each([
    [{ rate: { per_second: 10, burst: 3 } }, "json/rate", "at least 4"],
    [{ concurrency: 4_001 }, "json/concurrency", "at most 1000 for each shard"],
  ])("%j cannot be divided, and is a 422 that says why", async (change, at, why) => {
    const { status, body } = await patch("sharded", change);
    expect([status, body.errors]).toEqual([422, [{ at, detail: expect.stringContaining(why) }]]);
    expect((await statusOf("sharded")).body.overridden).toEqual([]);
  });

  test("of an upstream with one object has at most 1000 permits, as before", async () => {
    expect((await patch("single", { concurrency: 1_001 })).status).toBe(422);
  });
});

describe("a pause that the upstream asks for", () => {
  const BUSY = () => Response.json({}, { status: 429, headers: { "Retry-After": "60" } });
  const obstacles = async () =>
    (await statusOf("sharded")).body.shards?.responding.map(({ obstacle }) => obstacle?.is);

  test("comes from one shard to all of them, until an operator ends it", async () => {
    resetUpstream(BUSY);
    expect((await call("sharded")).status).toBe(429);
    await soon(obstacles).toEqual(["paused", "paused", "paused", "paused"]);
    expect(upstream.order).toHaveLength(1);
    await abortAllDurableObjects();
    expect(await obstacles()).toEqual(["paused", "paused", "paused", "paused"]);
    await patch("sharded", { paused: false });
    expect(await obstacles()).toEqual([undefined, undefined, undefined, undefined]);
    resetUpstream(BUSY);
    expect((await call("sharded")).status).toBe(429);
    await soon(obstacles).toEqual(["paused", "paused", "paused", "paused"]);
  });
});

describe("an object that is no shard", () => {
  test.each(["sharded", "sharded#4", "sharded#x", "single#0"])("grants nothing: %s", async (name) => {
    expect(await acquireFrom(name, "a")).toMatchObject({ is: "refused", reason: "queue-full" });
    expect((await env.SEMAPHORE.getByName(name).status()).concurrency).toBe(0);
  });
});

test("an upstream with one shard has the object that has its name, and a status as before", async () => {
  expect((await call("single")).status).toBe(200);
  expect((await env.SEMAPHORE.getByName("single").status()).totals.granted).toBe(1);
  const { body } = await statusOf("single");
  expect([Object.hasOwn(body, "shards"), Object.hasOwn(body, "whole")]).toEqual([false, false]);
  expect(Object.hasOwn(await acquireFrom("single", "a"), "load")).toBe(false);
});

test("the status of several shards is what the document says, and nothing more", async () => {
  const { body } = await statusOf("sharded");
  expect(Object.hasOwn(body, "whole")).toBe(false);
  expect(Object.keys(body.shards ?? {})).toEqual(["count", "lost", "responding"]);
  expect((await callWorker("/upstreams/sharded")).response.headers.get("Cache-Control")).toBe("no-store");
});
