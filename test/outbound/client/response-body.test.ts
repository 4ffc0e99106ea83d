/** A response on its way to its reader: who broke it off, and what is made of that. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { resetUpstream } from "../../support/scripted-upstream.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

keepQuiet();
expectRuntimeErrors("broke off", "Network connection lost");
beforeEach(async () => {
  await reset();
  resetUpstream();
});

/** A body of 100 kB that then ends, stalls or breaks off. */
function body(then: "ends" | "stalls" | "breaks off"): ReadableStream<Uint8Array> {
  let left = 10;
  return new ReadableStream(
    {
      async pull(controller) {
        if (left-- > 0) return controller.enqueue(new Uint8Array(10_000));
        if (then === "stalls") await scheduler.wait(5_000);
        if (then === "ends") return controller.close();
        controller.error(new Error("broke off"));
      },
    },
    { highWaterMark: 0 },
  );
}

async function call(then: "ends" | "stalls" | "breaks off") {
  resetUpstream(() => new Response(body(then)));
  return (await callWorker("/fetch/upload-timed/x")).response;
}

async function outcome(): Promise<Record<string, number>> {
  await expect.poll(async () => loadOf("upload-timed")).toEqual(IDLE);
  const { outcomes } = (await env.SEMAPHORE.getByName("upload-timed").status()).totals;
  return Object.fromEntries(Object.entries(outcomes).filter(([, count]) => count > 0));
}

describe("a response", () => {
  test("that is read whole is a success", async () => {
    expect((await (await call("ends")).arrayBuffer()).byteLength).toBe(100_000);
    expect(await outcome()).toEqual({ ok: 1 });
  });

  test("that the upstream breaks off is its failure", async () => {
    await expect((await call("breaks off")).arrayBuffer()).rejects.toThrow();
    expect(await outcome()).toEqual({ failed: 1 });
  });

  test("in the middle of which the upstream is silent is its failure", async () => {
    await expect((await call("stalls")).arrayBuffer()).rejects.toThrow();
    expect(await outcome()).toEqual({ failed: 1 });
  });

  test("that its reader does not read breaks off, and is nobody's failure", async () => {
    const response = await call("ends");
    expect(await outcome()).toEqual({ unknown: 1 });
    await expect(response.arrayBuffer()).rejects.toThrow();
  });

  test("that its reader reads, and then no longer, is nobody's failure", async () => {
    const reader = (await call("ends")).body?.getReader();
    await reader?.read();
    expect(await outcome()).toEqual({ unknown: 1 });
    await expect(reader?.read()).rejects.toThrow();
  });

  test("that its reader cancels is nobody's failure", async () => {
    await (await call("ends")).body?.cancel();
    expect(await outcome()).toEqual({ unknown: 1 });
  });
});
