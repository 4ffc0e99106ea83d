/** The Worker, with task types whose runs can be followed from outside, through its log. */
import { z } from "zod";
import { defineTask, registerTaskTypes } from "../../src/tasks/index.ts";

export * from "../../src/index.ts";
export { default } from "../../src/index.ts";

const input = z.object({});

/** Takes four seconds, in steps. */
const steps = defineTask({
  name: "e2e-steps",
  input,
  async run(ctx) {
    const first = await ctx.step("first", async () => {
      ctx.log("info", "first step done");
      return "first";
    });
    for (let i = 0; i < 5; i++) await ctx.sleep(800);
    return ctx.step("last", async () => {
      ctx.log("info", "last step done");
      return `${first}, last`;
    });
  },
});

/** Takes five seconds and ignores its signal. Returns the name of the run that reached its end. */
const deaf = defineTask({
  name: "e2e-deaf",
  input,
  async run(ctx) {
    const run = crypto.randomUUID();
    for (let i = 0; i < 25; i++) {
      ctx.log("info", "tick", { run, atMs: Date.now() });
      await scheduler.wait(200);
    }
    return run;
  },
});

/** Logs and reports when it is half done, and then sleeps. */
const halfway = defineTask({
  name: "e2e-halfway",
  input,
  async run(ctx) {
    await ctx.step("first", async () => ctx.log("info", "first half done"));
    ctx.progress(0.5, "half way");
    await ctx.sleep(2_000);
    return ctx.step("second", async () => "whole");
  },
});

registerTaskTypes([steps, deaf, halfway]);
