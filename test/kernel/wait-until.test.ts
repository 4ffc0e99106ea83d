import { describe, expect, test } from "vitest";
import { limitWaitUntil } from "../../src/kernel/wait-until.ts";

/** A platform that records what it is asked to wait for. */
function platform() {
  const awaited: Promise<unknown>[] = [];
  return { awaited, waitUntil: (promise: Promise<unknown>) => void awaited.push(promise) };
}

const never = new Promise<never>(() => {});

test("without a limit, the platform gets the promise itself", () => {
  const ctx = platform();
  limitWaitUntil(ctx, 0).waitUntil(never);
  expect(ctx.awaited).toEqual([never]);
  expect(ctx.awaited[0]).toBe(never);
});

describe("with a limit, the platform waits", () => {
  test("until the limit, counted from the call, for what never ends", async () => {
    const ctx = platform();
    const limited = limitWaitUntil(ctx, 60);
    await scheduler.wait(40);
    const calledAtMs = performance.now();
    limited.waitUntil(never);
    await ctx.awaited[0];
    expect(performance.now() - calledAtMs).toBeGreaterThanOrEqual(55);
  });

  test("only until the end of what ends before the limit", async () => {
    const ctx = platform();
    limitWaitUntil(ctx, 3_600_000).waitUntil(Promise.resolve("done"));
    expect(await ctx.awaited[0]).toBe("done");
  });

  test("and sees a rejection, as it does without a limit", async () => {
    const ctx = platform();
    limitWaitUntil(ctx, 3_600_000).waitUntil(Promise.reject(new RangeError("too far")));
    await expect(ctx.awaited[0]).rejects.toThrow(RangeError);
  });
});
