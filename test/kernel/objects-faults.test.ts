/** Calls to objects on the simulated platform: how often each is made, and what the caller gets. */

import { env, reset } from "cloudflare:test";
import { AsyncLocalStorage } from "node:async_hooks";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { newType } from "../support/background.ts";
import { type CallOptions, callForJson, callWorker, captureLogs } from "../support/call.ts";
import { type Fault, Faults } from "../support/platform/faults.ts";
import { platform } from "../support/platform/platform.ts";
import { keepQuiet } from "../support/quiet.ts";
import { submitted, taskOf } from "../support/submissions.ts";
import { acquireFrom } from "../support/upstreams.ts";
import worker from "../support/worker.ts";

keepQuiet();

const ID = "s0-0198c0de-1234-7abc-8def-0123456789ab";
const ROUTES: [method: string, path: string, binding: string, problem: string][] = [
  ["GET", `/tasks/${ID}`, "TASK_LEDGER", "ledger-unavailable"],
  ["GET", "/run-tasks", "TASK_LEDGER", "ledger-unavailable"],
  ["GET", "/schedules", "SCHEDULER", "ledger-unavailable"],
  ["GET", "/files/a", "FILE_CATALOGUE", "catalogue-unavailable"],
  ["PUT", "/files/a", "FILE_CATALOGUE", "catalogue-unavailable"],
  ["GET", "/upstreams/demo", "SEMAPHORE", "semaphore-unavailable"],
  ["GET", "/fetch/demo/todos/1", "SEMAPHORE", "semaphore-unavailable"],
  ["GET", "/audit", "AUDIT_LOG", "audit-unavailable"],
];

/** The fault that the calls of one request meet, and the calls. Requests of other tests, at the same time, have their own. */
interface Observed {
  fault: Fault;
  faults: Faults;
  calls: string[];
}
const observed = new AsyncLocalStorage<Observed>();

beforeAll(() => {
  const { faults } = platform;
  faults.apply = async (call, make) => {
    const own = observed.getStore();
    if (own && call.binding === own.fault.binding && call.method !== "discard") own.calls.push(call.method);
    return own ? own.faults.apply(call, make) : make();
  };
});
afterAll(() => Reflect.deleteProperty(platform.faults, "apply"));

/** Runs `action`, whose calls to objects meet the fault. Returns which calls it made, too. */
async function under<T>(fault: Fault, action: () => Promise<T>): Promise<{ value: T; calls: string[] }> {
  const own: Observed = { fault, faults: new Faults(), calls: [] };
  own.faults.add(fault);
  return { value: await observed.run(own, action), calls: own.calls };
}

/** The response while calls to the objects fail, which calls the request made to them, and how long it took. */
async function during(
  fault: Fault,
  method: string,
  path: string,
  init: CallOptions = { variables: { AUDIT: "on" }, ...(method === "PUT" && { body: "x" }) },
) {
  const startedAtMs = Date.now();
  const { value, calls } = await under(fault, async () => {
    const { response, settled } = await callWorker(path, { method, ...init });
    const text = await response.text();
    await settled();
    const body = (text === "" ? {} : JSON.parse(text)) as Record<string, unknown>;
    return { status: response.status, headers: response.headers, body };
  });
  return { ...value, calls, ms: Date.now() - startedAtMs };
}

describe.concurrent("an object that", () => {
  test.each(ROUTES)("is overloaded is called once by %s %s", async (method, path, binding, problem) => {
    const { status, body, headers, calls, ms } = await during({ kind: "overloaded", binding }, method, path);
    expect([status, body.type, calls.length]).toEqual([503, `urn:sluice:problem:${problem}`, 1]);
    expect(Number(headers.get("Retry-After"))).toBeGreaterThan(0);
    expect(ms).toBeLessThan(2_000);
  });

  test.each(ROUTES)("stays out of reach is called twice by %s %s", async (method, path, binding, problem) => {
    const { status, body, calls } = await during({ kind: "unreachable", binding }, method, path);
    // The runtime has tried each of them five times.
    expect([status, body.type, calls.length]).toEqual([503, `urn:sluice:problem:${problem}`, 2]);
  });

  test.each(["unreachable", "reply-lost"] as const)("is %s for a moment is called again", async (kind) => {
    const fault = { kind, binding: "SCHEDULER", times: 1 };
    expect(await during(fault, "GET", "/schedules")).toMatchObject({
      status: 200,
      calls: ["listPage", "listPage"],
    });
  });

  test("never responds ends in a 503 after ten seconds", async () => {
    const { status, body, calls, ms } = await during(
      { kind: "hang", binding: "SCHEDULER" },
      "GET",
      "/schedules",
    );
    expect([status, body.type, calls.length]).toEqual([503, "urn:sluice:problem:ledger-unavailable", 1]);
    expect(ms).toBeLessThan(12_000);
  });
});

test.each([
  ["HEAD", "status"],
  ["DELETE", "status"],
  ["PATCH", "append"],
])("an upload session that is overloaded is called once by %s", async (method, called) => {
  const headers = {
    "Tus-Resumable": "1.0.0",
    "Upload-Offset": "0",
    "Content-Type": "application/offset+octet-stream",
  };
  const init = method === "PATCH" ? { headers, body: "x" } : { headers };
  const fault = { kind: "overloaded", binding: "UPLOAD_SESSION" } as const;
  const { status, calls } = await during(
    fault,
    method,
    `/uploads/01a2194c-df92-7106-a9a4-14b4bc98f239`,
    init,
  );
  expect([status, calls]).toEqual([503, [called]]);
});

describe("a semaphore that lets a call queue, and then", () => {
  beforeEach(async () => reset());
  const hold = async (upstream: string) => (await acquireFrom(upstream, "holder", { leaseMs: 60_000 })).is;

  test("is overloaded, is not called again", async () => {
    expect(await hold("single")).toBe("granted");
    const fault = { kind: "overloaded", binding: "SEMAPHORE", method: "wait" } as const;
    const { status, body, calls, ms } = await during(fault, "GET", "/fetch/single/x");
    expect([status, body.type]).toEqual([503, "urn:sluice:problem:semaphore-unavailable"]);
    expect(calls).toEqual(["acquire", "wait"]);
    expect(ms).toBeLessThan(2_000);
    await expect.poll(async () => (await env.SEMAPHORE.getByName("single").status()).waiting.count).toBe(0);
  });

  test("never responds, is given up soon after the longest wait", async () => {
    expect(await hold("short-wait")).toBe("granted");
    const fault = { kind: "hang", binding: "SEMAPHORE", method: "wait" } as const;
    const { status, body, calls } = await during(fault, "GET", "/fetch/short-wait/x");
    expect([status, body.type]).toEqual([503, "urn:sluice:problem:semaphore-unavailable"]);
    expect(calls).toEqual(["acquire", "wait"]);
  });
});

test("one that restarts while a type's dead letters are retried is called again on a fresh stub", async () => {
  let stubs = 0;
  const getByName = () => {
    const isBroken = stubs++ === 0;
    return {
      retryFailed: async () => (isBroken ? Promise.reject(new Error("the stub is broken")) : 0),
    };
  };
  const init = {
    method: "POST",
    body: JSON.stringify({ type: "task_a" }),
    headers: { "Content-Type": "application/json" },
    variables: { TASK_LEDGER: { getByName } },
  };
  const { value } = await captureLogs(async () => callForJson("/tasks/retry", init));
  expect([value.status, value.body]).toEqual([200, { retried: 0, remaining: false }]);
});

test("the watchdog does not wait for ever for an object that hangs", async () => {
  await env.FILES.put("sluice/objects.json", JSON.stringify({ objects: ["TASK_LEDGER/s0"] }));
  const controller = { scheduledTime: Date.now(), cron: "* * * * *", noRetry: () => {} };
  const { lines } = await captureLogs(async () =>
    under({ kind: "hang", binding: "TASK_LEDGER" }, async () => worker.scheduled(controller, { ...env })),
  );
  expect(lines).toMatchObject([{ level: "error", what: "ledger s0" }]);
});

test("a run whose progress gets no reply ends all the same", async () => {
  const type = newType("faults-progress", async (ctx) => {
    ctx.progress(0.5);
    return "done";
  });
  const fault = { kind: "hang", binding: "TASK_LEDGER", method: "progress" } as const;
  const { value } = await under(fault, async () => submitted({ type: type.name }));
  expect(await taskOf(value)).toMatchObject({ status: "succeeded", result: "done" });
});

test("the watchdog of a new deployment calls no object, and reads one small R2 object", async () => {
  await reset();
  const controller = { scheduledTime: Date.now(), cron: "* * * * *", noRetry: () => {} };
  const usage = await platform.measure(async () => worker.scheduled(controller, { ...env }));
  expect(usage).toMatchObject({ objectRequests: 0, rowsWritten: 0, classA: 0, classB: 1 });
});
