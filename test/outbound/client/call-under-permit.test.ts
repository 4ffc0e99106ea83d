/** Many calls of one invocation side by side: on the six connections that the platform gives it, all are served. */
import { createExecutionContext, env, reset, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createApp, createRouter } from "../../../src/kernel/app.ts";
import { fetchUpstream } from "../../../src/outbound/index.ts";
import { newType } from "../../support/background.ts";
import { PAID, platform } from "../../support/platform/platform.ts";
import { simulateHandler } from "../../support/platform/simulate.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { resetUpstream, upstream } from "../../support/scripted-upstream.ts";
import { submittedBatch, taskOf } from "../../support/submissions.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

const CALLS = 12;

keepQuiet();
beforeEach(async () => {
  await reset();
  resetUpstream();
});
afterEach(() => platform.reset());

type Context = Parameters<typeof fetchUpstream>[0];

/** Calls an upstream many times side by side. Returns the statuses. */
const callSideBySide = async (context: Context, name: string, calls = CALLS) =>
  Promise.all(
    Array.from({ length: calls }, async (_, n) => {
      const response = await fetchUpstream(context, name, `/${n}`);
      await response.text();
      return response.status;
    }),
  );

const router = createRouter();
router.get("/side-by-side/:name", async (c) => c.json(await callSideBySide(c, c.req.param("name"))));
const app = createApp({ open: [router], closed: [] });
const handler = simulateHandler({ fetch: app.fetch, scheduled: async () => {} });

async function callRoute(name: string) {
  const ctx = createExecutionContext();
  const response = await handler.fetch(new Request(`http://localhost/side-by-side/${name}`), env, ctx);
  const statuses = await response.json();
  await waitOnExecutionContext(ctx);
  return statuses;
}

const sideBySide = newType("side_by_side", async (ctx) => callSideBySide(ctx, "client-single", CALLS / 2), {
  lane: "fast",
});
const ALL = Array.from({ length: CALLS }, () => 200);

describe.each([true, false])("if a call to an object takes a connection: %s,", (rpcTakesConnection) => {
  beforeEach(() => {
    platform.limits = { ...PAID, rpcTakesConnection };
  });

  test("calls that wait for a permit leave a connection to the one that holds it", async () => {
    expect(await callRoute("client-single")).toEqual(ALL);
    expect(upstream.maxInFlight).toBe(1);
    expect(await loadOf("client-single")).toEqual(IDLE);
  });

  test("a call does not hold a permit while it waits for a connection", async () => {
    resetUpstream(async () => {
      await scheduler.wait(350);
      return Response.json({});
    });
    expect(await callRoute("wide-impatient")).toEqual(ALL);
    expect(upstream.maxInFlight).toBeLessThan(6);
  });

  test("that holds for tasks that run in the same invocation together", async () => {
    const task = { type: sideBySide.name, input: {} };
    for (const id of await submittedBatch([task, task]))
      expect(await taskOf(id)).toMatchObject({ status: "succeeded", result: ALL.slice(CALLS / 2) });
    expect(await loadOf("client-single")).toEqual(IDLE);
  });
});
