/** The task whose runs can be cut, on which the tests of all jobs stand: it cuts where it says, and keeps what was recorded. */
import { expect, test } from "vitest";
import type { TaskContext } from "../src/tasks/index.ts";
import { cutAtEveryMoment, TestTask } from "./support/task-context.ts";

/** Two steps and a checkpoint; `effects` lists the actions that were done. */
const code =
  (effects: string[]) =>
  async (ctx: TaskContext): Promise<string> => {
    const one = await ctx.step("one", async () => {
      ctx.signal.throwIfAborted();
      effects.push("one");
      return 1;
    });
    if (ctx.checkpoint() === undefined) {
      effects.push("two");
      await ctx.saveCheckpoint({ at: one });
    }
    return JSON.stringify(ctx.checkpoint());
  };

test("a run is cut at every moment once, and goes on after what was recorded", async () => {
  const seen: string[] = [];
  let effects: string[] = [];
  const moments = await cutAtEveryMoment(
    async () => code((effects = [])),
    (result, task) => {
      expect(result).toBe('{"at":1}');
      seen.push(`${effects.join(" ")} in ${task.runs}`);
    },
  );
  expect(moments).toBe(5);
  expect(seen).toEqual([
    "one two in 2", // before the action
    "one one two in 2", // after the action, before it is recorded
    "one two in 2", // after it is recorded
    "one two two in 2", // before the checkpoint is saved
    "one two in 2", // after it is saved
    "one two in 1",
  ]);
});

test("once it is cut, nothing is recorded, and every call throws", async () => {
  const task = new TestTask();
  const ctx = task.context(1);
  await expect(ctx.saveCheckpoint(1)).rejects.toThrow("cut at moment 1");
  await expect(ctx.step("one", async () => 1)).rejects.toThrow("cut at moment 1");
  await expect(ctx.handOver()).rejects.toThrow("cut at moment 1");
  expect(() => ctx.progress(1)).toThrow("cut at moment 1");
  expect([task.checkpoint, task.steps.size]).toEqual([undefined, 0]);
});

test("hand-overs and long sleeps end a run, and `finish` goes on", async () => {
  const task = new TestTask();
  const ended = await task.finish(async (ctx) => {
    const n = (ctx.checkpoint<number>() ?? 0) + 1;
    await ctx.saveCheckpoint(n);
    await ctx.sleep(5);
    await ctx.sleep(60_000);
    if (n < 4) await ctx.handOver();
    return n;
  });
  expect([ended, task.runs]).toEqual([4, 4]);
});
