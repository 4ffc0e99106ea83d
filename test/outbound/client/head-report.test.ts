/** What is reported to the semaphore before the call is over, and what is not worth a call to it. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { startHeadReport } from "../../../src/outbound/client/head-report.ts";
import type { Feedback } from "../../../src/outbound/semaphore/permit-types.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { resetUpstream, upstream } from "../../support/scripted-upstream.ts";

keepQuiet();

describe("the head", () => {
  const PAUSE: Feedback = { outcome: "overloaded", retryAfterMs: 1000 };

  test.each<[string, boolean, Feedback, boolean, number]>([
    ["of a probe", true, { outcome: "ok" }, false, 1],
    ["of a probe that ends soon", true, { outcome: "failed" }, true, 1],
    ["of any other call", false, { outcome: "ok" }, false, 0],
    ["that fails", false, { outcome: "failed" }, false, 0],
    ["that asks for a pause", false, PAUSE, false, 1],
    ["that asks for a pause, and ends soon", false, PAUSE, true, 0],
    ["that asks for a pause that is over", false, { outcome: "overloaded", retryAfterMs: 0 }, false, 0],
  ])("%s", (_name, isProbe, feedback, endsSoon, times) => {
    const report = vi.fn();
    const head = startHeadReport(isProbe, report);
    head.onHead(feedback, endsSoon);
    head.stop();
    expect(report.mock.calls).toEqual(times === 0 ? [] : [[feedback]]);
  });

  test("of a probe that does not come: somebody else may try", () => {
    vi.useFakeTimers();
    try {
      const report = vi.fn();
      startHeadReport(true, report);
      const stopped = startHeadReport(true, report);
      stopped.stop();
      startHeadReport(false, report);
      vi.advanceTimersByTime(4999);
      expect(report).not.toHaveBeenCalled();
      vi.advanceTimersByTime(60_000);
      expect(report.mock.calls).toEqual([[{ outcome: "unknown" }]]);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("a probe", () => {
  const semaphore = () => env.SEMAPHORE.getByName("probe-any");
  const fetchAny = async () => callForJson("/fetch/probe-any/x");

  beforeEach(async () => {
    await reset();
    resetUpstream(() => Response.json({}, { status: 500 }));
    for (let n = 0; n < 10; n++) await fetchAny();
    expect((await semaphore().status()).breaker).toBe("open");
    await expect.poll(async () => (await semaphore().status()).breaker, { timeout: 5000 }).toBe("half-open");
  });

  /** A response that has begun, and ends when the test says so. */
  function begun(status: number) {
    const end = Promise.withResolvers<void>();
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        controller.enqueue(new Uint8Array(10));
        await end.promise;
        controller.close();
      },
    });
    resetUpstream(() =>
      upstream.order.length === 1 ? new Response(body, { status }) : Response.json({ ok: true }),
    );
    return end.resolve;
  }

  test("lets the others in with the head of its response, while its body streams", async () => {
    const end = begun(200);
    const { response, settled } = await callWorker("/fetch/probe-any/x");
    expect((await fetchAny()).status).toBe(200);
    expect((await semaphore().status()).held.count).toBe(1);
    expect((await semaphore().status()).breaker).toBe("closed");
    end();
    await response.arrayBuffer();
    await settled();
  });

  test("opens the breaker again with the head of its response, while its body streams", async () => {
    const end = begun(500);
    const { response, settled } = await callWorker("/fetch/probe-any/x");
    await expect.poll(async () => (await semaphore().status()).breaker).toBe("open");
    expect((await fetchAny()).body.type).toBe("urn:sluice:problem:breaker-open");
    end();
    await response.arrayBuffer();
    await settled();
    expect((await semaphore().status()).breaker).toBe("open");
  });
});

test("a 429 whose body streams pauses the others at once", async () => {
  await reset();
  const end = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      controller.enqueue(new Uint8Array(10));
      await end.promise;
      controller.close();
    },
  });
  const init = { status: 429, headers: { "Retry-After": "30" } };
  resetUpstream(() => (upstream.order.length === 1 ? new Response(body, init) : new Response(null, init)));
  const { response, settled } = await callWorker("/fetch/probe-any/x", { method: "POST" });
  await expect
    .poll(async () => (await env.SEMAPHORE.getByName("probe-any").status()).obstacle?.is)
    .toBe("paused");
  end.resolve();
  await response.arrayBuffer();
  await settled();
});
