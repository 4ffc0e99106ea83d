/** The Worker, with task types whose runs can be followed from outside, through its log. */
import { z } from "zod";
import { defineTask, registerTaskTypes } from "../../src/tasks/index.ts";

export * from "../../src/index.ts";
export { default } from "../../src/index.ts";

/** Of `e2e-deaf`. */
const DEAF_TICKS = 27;
const DEAF_TICK_MS = 125;

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

/** Takes 3.4 seconds and ignores its signal. Returns the name of the run that reached its end. */
const deaf = defineTask({
  name: "e2e-deaf",
  input,
  async run(ctx) {
    const run = crypto.randomUUID();
    for (let i = 0; i < DEAF_TICKS; i++) {
      ctx.log("info", "tick", { run, atMs: Date.now() });
      await scheduler.wait(DEAF_TICK_MS);
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
