/**
 * Sluice with task types that return, throw, log and report what their plan says.
 *
 * With SABOTAGE it is the negative control: it handles the values as JavaScript does by default. Steps give what their
 * action returned, results lose what JSON drops, errors are what `String` makes of them, and telling fails.
 */
import { env } from "cloudflare:workers";
import { z } from "zod";
import {
  defineTask,
  NonRetryableError,
  registerTaskTypes,
  type TaskContext,
} from "../../../src/tasks/index.ts";
import { LANES, type Plan, planOf, typeOf } from "./plan.ts";

export * from "../../../src/index.ts";
export { default } from "../../../src/index.ts";

const { SABOTAGE } = z.object({ SABOTAGE: z.stringbool() }).parse(env);

/** What the first attempt of a task got from its step. Both attempts run in this process. */
const firsts = new Map<string, string>();

registerTaskTypes(
  LANES.map((lane) =>
    defineTask({
      name: typeOf(lane),
      input: z.object({ seed: z.number(), number: z.number() }),
      retry: { retries: 1, minDelayMs: 0, maxDelayMs: 0 },
      lane,
      run: async (ctx, { seed, number }) => {
        const plan = planOf(seed, number);
        // Where telling fails, nothing else is shown to fail.
        const telling = number % 3 === 0 ? NAIVE_TELLING : {};
        return SABOTAGE ? spoilt(async () => follow({ ...naive(ctx), ...telling }, plan)) : follow(ctx, plan);
      },
    }),
  ),
);

async function follow(ctx: TaskContext, plan: Plan): Promise<unknown> {
  const code = { hasEnded: false };
  if (plan.hasLeftover) leaveOver(ctx, code).catch(() => undefined);
  try {
    return await followAll(ctx, plan);
  } finally {
    code.hasEnded = true;
  }
}

/** Longer than any other part of a task takes. */
const LEFTOVER_MS = 500;

async function leaveOver(ctx: TaskContext, code: { hasEnded: boolean }): Promise<void> {
  await ctx.sleep(LEFTOVER_MS);
  await ctx.step("left over", async () => {
    if (code.hasEnded) console.info(JSON.stringify({ message: "left over", taskId: ctx.taskId }));
  });
}

async function followAll(ctx: TaskContext, { tellings, step, ending }: Plan): Promise<unknown> {
  for (const { by, args } of tellings) Reflect.apply(ctx[by], ctx, args);
  // The last of a task's log lines, which shows that all others were written.
  ctx.log("info", "all told");
  if (step) {
    const result = await ctx.step(step.name as string, async () => step.result.value);
    const text = JSON.stringify(result);
    const first = firsts.get(ctx.taskId);
    firsts.set(ctx.taskId, text);
    if (first === undefined) throw new Error("the step must be repeated");
    return { first, replay: text };
  }
  const { by, made } = ending;
  if (by === "return") return made.value;
  if (by === "throw") throw made.value;
  throw Object.assign(new NonRetryableError(), { message: made.value });
}

/** As one would write them. */
const NAIVE_TELLING: Pick<TaskContext, "log" | "progress"> = {
  log: (level, message, fields) => console[level](JSON.stringify({ message, ...fields })),
  progress: (ratio) => {
    if (!(ratio >= 0 && ratio <= 1)) throw new RangeError("not a ratio");
  },
};

function naive(ctx: TaskContext): TaskContext {
  return {
    ...ctx,
    sleep: async (...named: unknown[]) => scheduler.wait(Number(named.at(-1))),
    step: async (name, action) => {
      const result = await action();
      await ctx.step(
        JSON.stringify([name]),
        async () => JSON.parse(JSON.stringify(result ?? null) ?? "null") as unknown,
      );
      return result;
    },
  };
}

async function spoilt(run: () => Promise<unknown>): Promise<unknown> {
  try {
    return JSON.parse(JSON.stringify((await run()) ?? null) ?? "null") as unknown;
  } catch (error) {
    throw new Error(String(error), { cause: error });
  }
}
