/** The Worker, with task types whose runs can be followed from outside, through its log. */
import { z } from "zod";
import worker, { TaskRunner as Runner, TaskLedger } from "../../src/index.ts";
import { defineTask, registerTaskTypes, startTasks } from "../../src/tasks/index.ts";

export * from "../../src/index.ts";

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

/** Ends at once. A call that carries one of `e2e-slow` is answered late: `SLOW_MS` after all in it has been written. */
const quick = defineTask({ name: "e2e-quick", input, run: async (ctx) => ctx.log("info", "quick") });
const slow = defineTask({ name: "e2e-slow", input, run: async () => null });
const SLOW_MS = 400;

registerTaskTypes([steps, deaf, halfway, quick, slow]);

type Commit = TaskLedger["commit"];
const commit = Reflect.get(TaskLedger.prototype, "commit");
Object.assign(TaskLedger.prototype, {
  async commit(this: TaskLedger, ...args: Parameters<Commit>) {
    const written = commit.apply(this, args);
    if (args[0].flat().some(({ type }) => type === slow.name)) await scheduler.wait(SLOW_MS);
    return written;
  },
});

export class TaskRunner extends Runner {
  /** Submits an `e2e-slow`, and dies after `ms`, perhaps while it carries what others submit. */
  async dieCarrying(ms: number): Promise<void> {
    this.ctx.waitUntil(startTasks(this.env, this.ctx, [{ type: slow, input: {} }]));
    this.ctx.waitUntil(scheduler.wait(ms).then(() => this.ctx.abort("killed")));
  }
}

export default {
  ...worker,
  async fetch(request, env, ctx) {
    const [, ms] = /^\/~die-carrying\/(\d+)$/.exec(new URL(request.url).pathname) ?? [];
    if (ms === undefined) return worker.fetch(request, env, ctx);
    const object: unknown = env.TASK_RUNNER.getByName(`carrier ${crypto.randomUUID()}`);
    await (object as TaskRunner).dieCarrying(Number(ms));
    return new Response();
  },
} satisfies ExportedHandler<Env>;
