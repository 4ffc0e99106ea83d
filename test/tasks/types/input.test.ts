/** What is validated is what is kept, and what the code receives: through the API, startTasks, schedules and declarations. */
import { createExecutionContext, env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineSchedule, defineTask, registerTaskTypes, startTasks } from "../../../src/tasks/index.ts";
import { parseInput } from "../../../src/tasks/types/input.ts";
import { runTasks } from "../../support/background.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submit, submitted, taskWhen } from "../../support/submissions.ts";

keepQuiet();

const seen: unknown[] = [];
const run = async (_ctx: unknown, input: unknown) => void seen.push(input);
const any = defineTask({ name: "input-any", input: z.object({ n: z.unknown() }), run });
const dated = defineTask({ name: "input-dated", input: z.object({ at: z.coerce.date() }), run });
const strict = defineTask({ name: "input-strict", input: z.object({ at: z.date() }), run });
const shaped = defineTask({
  name: "input-shaped",
  input: z.object({
    n: z.string().transform(Number).pipe(z.int().max(10)),
    tags: z.array(z.string()).default(["none"]),
  }),
  run,
});
const fragile = defineTask({
  name: "input-fragile",
  input: z.object({ text: z.string().transform((text) => JSON.parse(text) as unknown) }),
  run,
});
const asynchronous = defineTask({
  name: "input-async",
  input: z.object({
    id: z
      .string()
      .refine(async (id) => (await later(id)) !== "taken", "is taken")
      .transform(async (id) => (id === "broken" ? broken() : later(id.toUpperCase()))),
  }),
  run,
});
async function later<T>(value: T): Promise<T> {
  await scheduler.wait(1);
  return value;
}
const broken = async () => {
  throw new Error("the database is away");
};
registerTaskTypes([any, dated, strict, shaped, fragile, asynchronous]);

const schedule = async (body: string) =>
  callForJson("/schedules", { method: "POST", headers: { "Content-Type": "application/json" }, body });

describe("a number that cannot be kept as it was sent is rejected with its place, and nothing is written", () => {
  test.each<[string, boolean]>([
    ["1e400", false],
    ["-1e400", false],
    ["9007199254740993", false],
    ["12345678901234567890", false],
    ["1e-400", false],
    ["9007199254740991", true],
    ["1e300", true],
    ["0.1", true],
    ["-0.5e-10", true],
  ])("%s", async (n, isKept) => {
    const task = await submit(`{"type": "input-any", "delay": 600, "input": {"n": ${n}}}`);
    const batch = await submit(`[{"type": "input-any", "delay": 600, "input": {"n": ${n}}}]`);
    const planned = await schedule(`{"type": "input-any", "cron": "0 0 1 1 *", "input": {"n": ${n}}}`);
    if (!isKept) {
      expect([task, batch, planned].map(({ status, body }) => [status, body.errors])).toMatchObject([
        [422, [{ at: "json/input/n" }]],
        [422, [{ at: "json/0/input/n" }]],
        [422, [{ at: "json/input/n" }]],
      ]);
      return;
    }
    expect([task.status, batch.status, planned.status]).toEqual([202, 202, 201]);
    const { body } = await callForJson(`/tasks/${String(task.body.id)}`);
    expect([body.input, planned.body.input]).toEqual([{ n: Number(n) }, { n: Number(n) }]);
  });
});

describe("a schema that transforms", () => {
  test("gives the code what it returns, while the ledger keeps what was submitted", async () => {
    seen.length = 0;
    const id = await submitted({ type: shaped.name, input: { n: "7", more: true } });
    expect(await taskWhen(id, "succeeded")).toMatchObject({ input: { n: "7", more: true } });
    expect(seen).toEqual([{ n: 7, tags: ["none"] }]);
  });

  test.each([{ n: 7 }, { n: "11" }, { n: "7.5" }, { n: "seven" }, { n: "7", tags: "a" }])(
    "rejects %j before it is kept",
    async (input) => {
      expect(await submit({ type: shaped.name, input })).toMatchObject({ status: 422 });
    },
  );

  test("is applied to the JSON of an input, also when code starts the task", async () => {
    seen.length = 0;
    const at = new Date(86_400_000);
    const [task] = await runTasks([{ type: dated, input: { at } }]);
    expect(task).toMatchObject({ status: "succeeded", input: { at: at.toISOString() } });
    expect(seen).toEqual([{ at }]);
    // JSON has no Date: each run would be given text.
    const start = startTasks(env, createExecutionContext(), [{ type: strict, input: { at } }]);
    await expect(start).rejects.toThrow(z.ZodError);
    const declare = () => defineSchedule({ id: "strict", cron: "0 0 * * *", type: strict, input: { at } });
    expect(declare).toThrow("does not fit");
    const { input } = defineSchedule({ id: "dated", cron: "0 0 * * *", type: dated, input: { at } });
    expect(JSON.parse(input)).toEqual({ at: at.toISOString() });
  });

  test("and throws is a rejection, not a bug", async () => {
    const { status, body } = await submit({ type: fragile.name, input: { text: "{" } });
    expect([status, body.errors]).toMatchObject([422, [{ at: "json/input" }]]);
    const { error } = await parseInput(fragile, '{"text":"{"}');
    expect(error?.message).toContain('The schema of \\"input-fragile\\" failed');
    expect(await submit({ type: fragile.name, input: { text: "{}" } })).toMatchObject({ status: 202 });
  });
});

describe("a schema that is asynchronous", () => {
  const type = asynchronous.name;

  test("is waited for, before the task is accepted and in each run", async () => {
    seen.length = 0;
    const id = await submitted({ type, input: { id: "a" } });
    expect(await taskWhen(id, "succeeded")).toMatchObject({ input: { id: "a" } });
    await runTasks([{ type: asynchronous, input: { id: "b" } }]);
    expect(seen).toEqual([{ id: "A" }, { id: "B" }]);
    const planned = await schedule(JSON.stringify({ type, cron: "0 0 1 1 *", input: { id: "c" } }));
    expect([planned.status, planned.body.input]).toEqual([201, { id: "c" }]);
  });

  test.each([
    ["taken", "is taken"],
    ["broken", 'The schema of "input-async" failed: the database is away'],
  ])("rejects %s, everywhere", async (id, detail) => {
    const input = { id };
    const task = await submit({ type, input });
    const batch = await submit([
      { type, input: { id: "free" } },
      { type, input },
    ]);
    const planned = await schedule(JSON.stringify({ type, cron: "0 0 1 1 *", input }));
    for (const { status, body } of [task, batch, planned])
      expect([status, body.errors]).toMatchObject([422, [{ detail }]]);
    const start = startTasks(env, createExecutionContext(), [{ type: asynchronous, input }]);
    await expect(start).rejects.toThrow(z.ZodError);
  });

  test("cannot be asked for a schedule that is declared in code: the message says why", () => {
    const declare = () =>
      defineSchedule({ id: "async", cron: "0 0 * * *", type: asynchronous, input: { id: "a" } });
    expect(declare).toThrow(/schedule "async" is not valid.*it is asynchronous, and cannot be asked while/s);
  });
});

test.each<[string, unknown, string]>([
  ["NaN", Number.NaN, "input.n: NaN is not JSON"],
  ["a Map", new Map(), "input.n: a Map is not JSON"],
  ["a function", run, "input.n: a function is not JSON"],
])("an input with %s cannot be started by code either", async (_name, n, message) => {
  const start = startTasks(env, createExecutionContext(), [{ type: any, input: { n } }]);
  await expect(start).rejects.toThrow(message);
});
