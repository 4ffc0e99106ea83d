/** Calls to objects on the simulated platform: how often each is made, and what the caller gets. */

import { env, reset } from "cloudflare:test";
import { AsyncLocalStorage } from "node:async_hooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callForJson } from "../support/call.ts";
import { type Fault, Faults } from "../support/platform/faults.ts";
import { platform } from "../support/platform/platform.ts";
import { keepQuiet } from "../support/quiet.ts";
import worker from "../support/worker.ts";

keepQuiet();

const ID = "s0-0198c0de-1234-7abc-8def-0123456789ab";
const ROUTES: [method: string, path: string, binding: string, problem: string][] = [
  ["GET", `/tasks/${ID}`, "TASK_LEDGER", "ledger-unavailable"],
  ["GET", "/schedules", "SCHEDULER", "ledger-unavailable"],
  ["GET", "/files/a", "FILE_CATALOGUE", "catalogue-unavailable"],
  ["PUT", "/files/a", "FILE_CATALOGUE", "catalogue-unavailable"],
  ["GET", "/upstreams/demo", "SEMAPHORE", "semaphore-unavailable"],
  ["GET", "/fetch/demo/todos/1", "SEMAPHORE", "semaphore-unavailable"],
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

/** The response while calls to the objects fail, which calls the request made to them, and how long it took. */
async function during(fault: Fault, method: string, path: string) {
  const own: Observed = { fault, faults: new Faults(), calls: [] };
  own.faults.add(fault);
  const startedAtMs = Date.now();
  const init = method === "PUT" ? { body: "x" } : {};
  const value = await observed.run(own, async () => callForJson(path, { method, ...init }));
  return { ...value, calls: own.calls, ms: Date.now() - startedAtMs };
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
    expect(await during(fault, "GET", "/schedules")).toMatchObject({ status: 200, calls: ["list", "list"] });
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

test("the watchdog of a new deployment calls no object, and reads one small R2 object", async () => {
  await reset();
  const controller = { scheduledTime: Date.now(), cron: "* * * * *", noRetry: () => {} };
  const usage = await platform.measure(async () => worker.scheduled(controller, { ...env }));
  expect(usage).toMatchObject({ objectRequests: 0, rowsWritten: 0, classA: 0, classB: 1 });
});
