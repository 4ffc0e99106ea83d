/** Task types that cost what every task costs, and nothing more. */
import { z } from "zod";
import { defineTask } from "../../src/tasks/index.ts";

const quick = defineTask({ name: "cost_quick", input: z.object({}), run: async () => null });

const long = defineTask({
  name: "cost_long",
  input: z.object({ seconds: z.number() }),
  lane: "long",
  async run(ctx, { seconds }) {
    await scheduler.wait(seconds * 1000);
    return ctx.attempt;
  },
});

export const COST_TYPES = [quick, long];
