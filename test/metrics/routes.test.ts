/** `GET /metrics`, from the front door: what it calls, what it keeps, and what it says when something is missing. */
import { createExecutionContext, env } from "cloudflare:test";
import { afterEach, beforeAll, expect, test } from "vitest";
import { readUpstreams } from "../../src/outbound/index.ts";
import { semaphoreNames } from "../../src/outbound/shards.ts";
import { whenEnded } from "../support/background.ts";
import { callWorker } from "../support/call.ts";
import { platform } from "../support/platform/platform.ts";
import { keepQuiet } from "../support/quiet.ts";
import { submitted } from "../support/submissions.ts";
import worker from "../support/worker.ts";

keepQuiet();
afterEach(() => platform.reset());

/** Bindings of their own, which nothing is kept for. */
async function scrape(bindings: Record<string, unknown> = {}): Promise<string[]> {
  const { response } = await callWorker("/metrics", { variables: bindings });
  expect(response.status).toBe(200);
  return (await response.text()).split("\n");
}

/** Once a task has run: its ledger exists, and is in the list. */
beforeAll(async () => {
  const id = await submitted({ type: "task_a" });
  await whenEnded(id);
  await platform.untilQuiet();
});

test("a scrape calls each object that exists once, and each semaphore", async () => {
  let lines: string[] = [];
  const usage = await platform.measure(async () => {
    lines = await scrape();
  });
  const up = lines.filter((line) => line.startsWith("sluice_object_up{"));
  expect(up.filter((line) => line.includes('"ledger"'))).toHaveLength(1);
  expect(up.filter((line) => line.includes('"semaphore"'))).toHaveLength(
    [...readUpstreams(env).values()].flatMap(semaphoreNames).length,
  );
  expect(up.every((line) => line.endsWith(" 1"))).toBe(true);
  expect([usage.objectRequests, usage.classB]).toEqual([up.length, 1]);
});

test("within ten seconds, the same bindings are read once", async () => {
  const bindings = { ...env };
  const ask = async () => {
    const request = new Request<unknown, IncomingRequestCfProperties>("http://localhost/metrics");
    return (await worker.fetch(request, bindings, createExecutionContext())).text();
  };
  const first = await ask();
  const usage = await platform.measure(async () => expect(await ask()).toBe(first));
  expect(usage.objectRequests).toBe(0);
});

test("a ledger that does not respond is down, and no sum of tasks is shown without it", async () => {
  platform.addFault({ kind: "unreachable", binding: "TASK_LEDGER" });
  const lines = await scrape();
  expect(lines.some((line) => /^sluice_object_up\{object="ledger",name="s\d"\} 0$/.test(line))).toBe(true);
  expect(lines.filter((line) => line.startsWith("sluice_tasks"))).toEqual([]);
  expect(lines.some((line) => line.startsWith("sluice_permits_limit{"))).toBe(true);
});

test("without the list of objects, it says so, and shows the semaphores", async () => {
  const FILES = {
    get: () => {
      throw new Error("R2 does not respond");
    },
  };
  const lines = await scrape({ FILES });
  expect(lines).toContain("sluice_object_list_up 0");
  expect(lines.filter((line) => line.startsWith("sluice_tasks"))).toEqual([]);
  expect(lines.some((line) => line.startsWith("sluice_permits_limit{"))).toBe(true);
});

test("OpenMetrics and its media type, if they are asked for", async () => {
  const { response } = await callWorker("/metrics", { headers: { Accept: "application/openmetrics-text" } });
  expect(response.headers.get("Content-Type")).toBe(
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
  );
  expect(response.headers.get("Vary")).toContain("Accept");
  expect((await response.text()).endsWith("# EOF\n")).toBe(true);
});
