/** After the end of a run, what is left of its code begins nothing any longer: the next run may be at work by then. */
import { describe, expect, test } from "vitest";
import { newType, runTasks, whenEnded } from "../../support/background.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

const LANES = ["fast", "long"] as const;
const ENDED = expect.stringContaining("This run of the task has ended");
const retry = { retries: 2, minDelayMs: 0, maxDelayMs: 0 };

async function run(type: ReturnType<typeof newType>) {
  const [task] = await runTasks([{ type, input: {} }]);
  return whenEnded(String(task?.id));
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

describe.each(LANES)("in the %s lane,", (lane) => {
  test("a branch beside the one that failed takes its next step in the next attempt only", async () => {
    const done: string[] = [];
    const refused: string[] = [];
    const type = newType(
      `ends-all-${lane}`,
      async (ctx) => {
        const step = async (name: string) =>
          ctx.step(name, async () => {
            done.push(`${name} in attempt ${ctx.attempt}`);
            await scheduler.wait(50);
          });
        const branch = async () => {
          await ctx.sleep(100);
          await step("first");
          await step("second");
        };
        const fails = async () => {
          if (ctx.attempt === 1) throw new Error("not yet");
        };
        const branches = [branch(), fails()];
        branches[0]?.catch((error: unknown) => refused.push(messageOf(error)));
        await Promise.all(branches);
        return "done";
      },
      { retry, lane },
    );
    expect(await run(type)).toMatchObject({ status: "succeeded", attempt: 2, crashes: 0 });
    expect(done).toEqual(["first in attempt 2", "second in attempt 2"]);
    expect(refused).toEqual([ENDED]);
  });

  test("the loser of a race does nothing, and its sleep ends with the run", async () => {
    const done: string[] = [];
    const refused = Promise.withResolvers<string>();
    const type = newType(
      `ends-race-${lane}`,
      async (ctx) => {
        const escalate = async () => {
          await ctx.sleep(60_000);
          done.push("escalated");
          return "late";
        };
        const work = async () => ctx.step("work", async () => "in time");
        const loser = escalate();
        loser.catch((error: unknown) => refused.resolve(messageOf(error)));
        return Promise.race([loser, work()]);
      },
      { retry, lane },
    );
    expect(await run(type)).toMatchObject({ status: "succeeded", attempt: 1, result: "in time" });
    if (lane === "fast") expect(await refused.promise).toEqual(ENDED);
    expect(done).toEqual([]);
  });

  test("a step that nobody waits for begins no other", async () => {
    const done: string[] = [];
    const type = newType(
      `ends-floating-${lane}`,
      async (ctx) => {
        const floating = async () => {
          await ctx.step("one", async () => scheduler.wait(50));
          await ctx.step("two", async () => void done.push("two"));
        };
        floating().catch(() => undefined);
        return "done";
      },
      { retry, lane },
    );
    expect(await run(type)).toMatchObject({ status: "succeeded", result: "done" });
    await scheduler.wait(200);
    expect(done).toEqual([]);
  });
});

test.each<[string, (ctx: object) => void]>([
  ["replaced", (ctx) => Object.assign(ctx, { log: notAFunction })],
  ["taken away", (ctx) => Reflect.deleteProperty(ctx, "log")],
])("code whose `ctx.log` was %s fails with its own reason", async (name, change) => {
  const type = newType(`ends-log-${name.replace(" ", "-")}`, async (ctx) => {
    change(ctx);
    throw new Error("the reason");
  });
  const [task] = await runTasks([{ type, input: {} }]);
  expect(task).toMatchObject({ status: "scheduled", crashes: 0, error: { message: "the reason" } });
});

function notAFunction(): never {
  throw new Error("this is not to be called");
}
