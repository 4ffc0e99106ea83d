/** Checkpoints, in a run and in the ledger. */
import { describe, expect, test } from "vitest";
import { createContext } from "../../../src/tasks/run/context.ts";
import { MAX_CHECKPOINT_BYTES } from "../../../src/tasks/types/json.ts";
import { newType, runTasks, scriptedLedger, someId, whenEnded } from "../../support/background.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

function newContext(checkpoint?: string, script: Parameters<typeof scriptedLedger>[0] = {}) {
  const { received, env } = scriptedLedger(script);
  const interrupt = new AbortController();
  const assignment = { type: "c", input: "{}", attempt: 1, attemptStartedAtMs: Date.now(), steps: {} };
  const { context, end } = createContext({
    env,
    claim: { taskId: someId(), token: 1 },
    assignment: checkpoint === undefined ? assignment : { ...assignment, checkpoint },
    platform: { waitUntil: () => {} },
    interrupt,
  });
  return { context, end, received, interrupt };
}

describe("a checkpoint", () => {
  test("is what was saved last, as JSON keeps it, and nobody else's object", async () => {
    const { context, received } = newContext();
    expect(context.checkpoint()).toBeUndefined();
    const at = { row: 1, date: new Date(0) };
    await context.saveCheckpoint(at);
    at.row = 2;
    expect(context.checkpoint()).toEqual({ row: 1, date: "1970-01-01T00:00:00.000Z" });
    await context.saveCheckpoint(undefined);
    expect([context.checkpoint(), received.checkpoints.length]).toEqual([null, 2]);
  });

  test("of an earlier run is there from the start", () => {
    expect(newContext('{"row":7}').context.checkpoint()).toEqual({ row: 7 });
  });

  test("arrives in the order in which it was saved", async () => {
    let first = true;
    const received: string[] = [];
    const saveCheckpoint = async (_claim: unknown, text: string) => {
      if (first) await scheduler.wait(((first = false), 20));
      received.push(text);
      return true;
    };
    const { context } = newContext(undefined, { saveCheckpoint });
    await Promise.all([context.saveCheckpoint(1), context.saveCheckpoint(2)]);
    expect([received, context.checkpoint()]).toEqual([["1", "2"], 2]);
  });

  test("may have 1 MiB of JSON and not a byte more", async () => {
    const { context, received } = newContext();
    await context.saveCheckpoint("x".repeat(MAX_CHECKPOINT_BYTES - 2));
    await expect(context.saveCheckpoint("x".repeat(MAX_CHECKPOINT_BYTES - 1))).rejects.toThrow(
      "checkpoint: at most 1048576 bytes of JSON are kept.",
    );
    await expect(context.saveCheckpoint({ at: Number.NaN })).rejects.toThrow("checkpoint.at");
    expect(received.checkpoints).toHaveLength(1);
  });

  test("under a claim that is no longer the latest is refused, and ends the run", async () => {
    const { context, interrupt } = newContext(undefined, { saveCheckpoint: async () => false });
    await expect(context.saveCheckpoint(1)).rejects.toThrow("Another run has taken over the task.");
    expect(interrupt.signal.reason).toMatchObject({ reason: "lost" });
    expect(context.checkpoint()).toBeUndefined();
  });

  test("that a ledger of an earlier version cannot keep hands the task over until it can", async () => {
    const lacks = async () =>
      Promise.reject(new TypeError('The RPC receiver does not implement the method "saveCheckpoint".'));
    const { context, interrupt } = newContext(undefined, { saveCheckpoint: lacks });
    await expect(context.saveCheckpoint(1)).rejects.toThrow("earlier version");
    expect(interrupt.signal.reason).toMatchObject({ reason: "hand-over" });
    expect((interrupt.signal.reason as { notBeforeMs: number }).notBeforeMs).toBeGreaterThan(Date.now());
  });

  test("is refused once the run has ended", async () => {
    const { context, end, received } = newContext();
    end();
    await expect(context.saveCheckpoint(1)).rejects.toThrow("This run of the task has ended");
    await expect(context.handOver()).rejects.toThrow("This run of the task has ended");
    expect(received.checkpoints).toEqual([]);
  });
});

test("a task goes on at its checkpoint after a hand-over and after a failed attempt", async () => {
  const seen: unknown[] = [];
  const type = newType(
    "checkpoint-goes-on",
    async (ctx) => {
      const n = ctx.checkpoint<number>() ?? 0;
      seen.push([ctx.attempt, n]);
      await ctx.saveCheckpoint(n + 1);
      if (n === 0) await ctx.handOver();
      if (n === 1) throw new Error("not yet");
      return n;
    },
    { retry: { retries: 1, minDelayMs: 0, maxDelayMs: 0 } },
  );
  const [task] = await runTasks([{ type, input: {} }]);
  expect(await whenEnded(String(task?.id))).toMatchObject({
    status: "succeeded",
    attempt: 2,
    result: 2,
    crashes: 0,
  });
  expect(seen).toEqual([
    [1, 0],
    [1, 1],
    [2, 2],
  ]);
});
