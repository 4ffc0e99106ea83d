/** Calls to objects on the simulated platform: how often each is made, and what the caller gets. */
import { env, reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { callForJson, captureLogs } from "../support/call.ts";
import type { Fault } from "../support/platform/faults.ts";
import { platform } from "../support/platform/platform.ts";
import worker from "../support/worker.ts";

beforeEach(() => reset());
afterEach(() => platform.reset());

const ID = "s0-0198c0de-1234-7abc-8def-0123456789ab";
const ROUTES: [method: string, path: string, binding: string, problem: string][] = [
  ["GET", `/tasks/${ID}`, "TASK_LEDGER", "ledger-unavailable"],
  ["GET", "/schedules", "SCHEDULER", "ledger-unavailable"],
  ["GET", "/files/a", "FILE_CATALOGUE", "catalogue-unavailable"],
  ["PUT", "/files/a", "FILE_CATALOGUE", "catalogue-unavailable"],
  ["GET", "/upstreams/demo", "SEMAPHORE", "semaphore-unavailable"],
  ["GET", "/fetch/demo/todos/1", "SEMAPHORE", "semaphore-unavailable"],
];

/** The response while calls to the objects fail, how many calls were made to them, and how long it took. */
async function during(fault: Fault, method: string, path: string) {
  const calls: string[] = [];
  const { faults } = platform;
  const apply = faults.apply.bind(faults);
  faults.apply = async (call, make) => {
    if (call.binding === fault.binding && call.method !== "discard") calls.push(call.method);
    return apply(call, make);
  };
  platform.addFault(fault);
  const startedAtMs = Date.now();
  const init = method === "PUT" ? { body: "x" } : {};
  const { value } = await captureLogs(async () => callForJson(path, { method, ...init }));
  Reflect.deleteProperty(faults, "apply");
  return { ...value, calls, ms: Date.now() - startedAtMs };
}

describe("an object that", () => {
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
  const controller = { scheduledTime: Date.now(), cron: "* * * * *", noRetry: () => {} };
  const usage = await platform.measure(async () => worker.scheduled(controller, { ...env }));
  expect(usage).toMatchObject({ objectRequests: 0, rowsWritten: 0, classA: 0, classB: 1 });
});
