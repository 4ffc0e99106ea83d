import { describe, expect, test } from "vitest";
import { createContext } from "../../../src/tasks/run/context.ts";
import { Interruption } from "../../../src/tasks/run/run.ts";
import type { TaskContext } from "../../../src/tasks/types/define.ts";
import { MAX_JSON_BYTES } from "../../../src/tasks/types/json.ts";
import { newType, runTasks, scriptedLedger, someId, whenEnded } from "../../support/background.ts";
import { callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

/** A context, and a ledger that records its calls. */
function newContext(steps: Record<string, string> = {}, script: Parameters<typeof scriptedLedger>[0] = {}) {
  const { received, env } = scriptedLedger(script);
  const interrupt = new AbortController();
  const waited: Promise<unknown>[] = [];
  const { context, flush } = createContext({
    env,
    claim: { taskId: someId(), token: 1 },
    assignment: { type: "context", input: "{}", attempt: 1, attemptStartedAtMs: Date.now(), steps },
    platform: { waitUntil: (promise) => void waited.push(promise) },
    interrupt,
  });
  return { context, flush, received, interrupt, waited };
}

const unexpected = async () => Promise.reject(new Error("the step was repeated"));

describe("a step", () => {
  test("runs its action and records the result", async () => {
    const { context, received } = newContext();
    expect(await context.step("one", async () => ({ n: 1 }))).toEqual({ n: 1 });
    // As any later run would read it.
    expect(await context.step("two", async () => undefined)).toBeNull();
    expect(received.steps).toEqual([
      ["one", '{"n":1}'],
      ["two", "null"],
    ]);
  });

  test("that is recorded is not repeated", async () => {
    const { context, received } = newContext({ one: '{"n":1}', constructor: "3" });
    expect(await context.step("one", unexpected)).toEqual({ n: 1 });
    expect(await context.step("constructor", unexpected)).toBe(3);
    expect(received.steps).toEqual([]);
  });

  test("may have a name that every object has", async () => {
    const { context } = newContext();
    expect(await context.step("toString", async () => 1)).toBe(1);
    expect(await context.step("__proto__", async () => 2)).toBe(2);
  });

  test("throws what its action throws, and records nothing", async () => {
    const { context, received } = newContext();
    await expect(
      context.step("one", async () => {
        throw new RangeError("odd");
      }),
    ).rejects.toThrow(new RangeError("odd"));
    expect(received.steps).toEqual([]);
  });

  test("that failed may be tried again, but not one that is under way or done", async () => {
    const { context, received } = newContext();
    const gate = Promise.withResolvers<number>();
    const first = context.step("one", () => gate.promise);
    await expect(context.step("one", unexpected)).rejects.toThrow(TypeError);
    gate.reject(new RangeError("odd"));
    await expect(first).rejects.toThrow(RangeError);
    expect(await context.step("one", async () => 1)).toBe(1);
    await expect(context.step("one", unexpected)).rejects.toThrow(TypeError);
    expect(received.steps).toEqual([["one", "1"]]);
  });

  test.each([
    ["x", true],
    ["x".repeat(100), true],
    ["", false],
    ["x".repeat(101), false],
    ["x y", true],
    [" x", false],
    [" sleep 1", false],
    ["\nx", false],
    ["send 😀", true],
    ["send 😀".slice(0, 6), false],
    ["\udc00", false],
    ["a\0b", false],
    ["😀".repeat(100), true],
    ["😀".repeat(101), false],
    [1 as unknown as string, false],
    [undefined as unknown as string, false],
  ])("may be named %j: %s", async (name, isAccepted) => {
    const { context, received } = newContext();
    const outcome = await context.step(name, async () => 1).catch((error: unknown) => error);
    expect(outcome).toEqual(isAccepted ? 1 : expect.any(RangeError));
    expect(received.steps).toHaveLength(isAccepted ? 1 : 0);
  });

  test.each([
    ["done", {}],
    ["recorded", { one: "1" }],
  ])("is rejected if another step of that name is %s", async (_name, steps) => {
    const { context } = newContext(steps);
    expect(await context.step("one", async () => 1)).toBe(1);
    await expect(context.step("one", unexpected)).rejects.toThrow(TypeError);
  });

  test.each<[string, unknown, string]>([
    ["a BigInt", 1n, 'step "one": result: a bigint is not JSON'],
    ["NaN", { items: [0, { ratio: Number.NaN }] }, 'step "one": result.items[1].ratio: NaN is not JSON'],
    ["a Map", new Map([["a", 1]]), 'step "one": result: a Map is not JSON'],
    ["bytes", { hash: new Uint8Array(2) }, 'step "one": result.hash: a Uint8Array is not JSON'],
  ])("whose result is or contains %s is rejected with its place", async (_name, result, message) => {
    const { context, received } = newContext();
    await expect(context.step("one", async () => result)).rejects.toThrow(message);
    expect(received.steps).toEqual([]);
  });

  test.each<[string, unknown]>([
    ["a Date", new Date(0)],
    ["an object with a Date and an undefined member", { at: new Date(0), note: undefined }],
    ["a URL in an array", [new URL("https://a.example/")]],
    [
      "an instance of a class",
      new (class Point {
        x = 1;
      })(),
    ],
    ["nothing", undefined],
    ["negative zero", -0],
  ])("that returns %s gives what JSON keeps of it, at once as after a replay", async (_name, result) => {
    const { context, received } = newContext();
    const first = await context.step("one", async () => result);
    const replay = newContext(Object.fromEntries(received.steps));
    expect(await replay.context.step("one", unexpected)).toStrictEqual(first);
    expect(first).toStrictEqual(JSON.parse(JSON.stringify(result ?? null)));
  });

  test("gives a value of its own: what its action kept cannot change it", async () => {
    const { context } = newContext();
    const kept = { n: 1 };
    const result = await context.step("one", async () => kept);
    kept.n = 2;
    expect(result).toEqual({ n: 1 });
  });

  test("runs concurrently with others", async () => {
    const { context, received } = newContext();
    const first = Promise.withResolvers<number>();
    const one = context.step("one", () => first.promise);
    const two = context.step("two", async () => {
      first.resolve(1);
      return 2;
    });
    expect(await Promise.all([one, two])).toEqual([1, 2]);
    expect(received.steps.map(([name]) => name).toSorted()).toEqual(["one", "two"]);
  });

  test("is recorded even if the ledger restarts meanwhile", async () => {
    let tries = 0;
    const restarts = async () => {
      if (++tries === 1) throw new Error("the ledger restarts");
      return true;
    };
    const { context } = newContext({}, { step: restarts });
    expect(await context.step("one", async () => 1)).toBe(1);
    expect(tries).toBe(2);
  });

  test("of a task that another run has taken over ends the run", async () => {
    const { context, interrupt } = newContext({}, { step: async () => false });
    await expect(context.step("one", async () => 1)).rejects.toMatchObject({ reason: "lost" });
    expect(interrupt.signal.reason).toMatchObject({ reason: "lost" });
    await expect(context.step("two", unexpected)).rejects.toThrow(Interruption);
  });

  test("does not start once the run is interrupted", async () => {
    const { context, interrupt } = newContext();
    interrupt.abort(new Interruption("timeout", "too long"));
    await expect(context.step("one", unexpected)).rejects.toThrow("too long");
  });
});

describe("a task can record", () => {
  const names = (count: number) => Array.from({ length: count }, (_, i) => `step ${i}`);
  const done = async (context: TaskContext, name: string, result: unknown = 1) =>
    context
      .step(name, async () => result)
      .then(
        () => 1,
        () => 0,
      );

  test("a thousand steps and not one more", async () => {
    const { context, received } = newContext();
    for (const name of names(1_000)) await context.step(name, async () => 1);
    await expect(context.step("one more", async () => 1)).rejects.toThrow(RangeError);
    expect(received.steps).toHaveLength(1_000);
  });

  test("a thousand steps and not one more, even concurrently", async () => {
    const { context, received } = newContext();
    const dones = await Promise.all(names(1_010).map(async (name) => done(context, name)));
    expect(dones.reduce((sum, one) => sum + one)).toBe(1_000);
    expect(received.steps).toHaveLength(1_000);
  });

  test("8 MiB of steps in all, including those of earlier runs", async () => {
    // Each name has 10 characters, each result two quotes: 16 of them fill the limit.
    const big = "x".repeat(MAX_JSON_BYTES - 12);
    const fills = names(10).map((name) => `${name} big`);
    const { context } = newContext(Object.fromEntries(fills.slice(0, 8).map((name) => [name, `"${big}"`])));
    for (const name of [
      ...fills.slice(8),
      "step 10 b.",
      "step 11 b.",
      "step 12 b.",
      "step 13 b.",
      "step 14 b.",
      "step 15 b.",
    ])
      await context.step(name, async () => big);
    await expect(context.step("a", async () => 1)).rejects.toThrow(RangeError);
  });
});

test("a rejected step does not count towards the limit", async () => {
  const { context } = newContext();
  const big = "x".repeat(MAX_JSON_BYTES - 20);
  for (let i = 0; i < 16; i++) await context.step(`big ${i}`, async () => big);
  await expect(context.step("one more", async () => big)).rejects.toThrow(RangeError);
  expect(await context.step("a small one", async () => 1)).toBe(1);
});

test("waitUntil keeps the task's invocation alive", async () => {
  const { context, waited } = newContext();
  const promise = Promise.resolve("kept");
  context.waitUntil(promise);
  expect(waited).toEqual([promise]);
});

test("a second attempt reads the steps that the first has recorded, whatever their names", async () => {
  const done: string[] = [];
  const type = newType(
    "context-resumes",
    async (ctx) => {
      const results: unknown[] = [];
      for (const name of ["one", "__proto__", "constructor", "2"])
        results.push(
          await ctx.step(name, async () => {
            done.push(name);
            return `${name} of ${ctx.attempt}`;
          }),
        );
      if (ctx.attempt === 1) throw new Error("not yet");
      return results;
    },
    { retry: { retries: 1, minDelayMs: 0, maxDelayMs: 0 } },
  );
  const [task] = await runTasks([{ type, input: {} }]);
  expect(await whenEnded(String(task?.id))).toMatchObject({
    status: "succeeded",
    attempt: 2,
    result: ["one of 1", "__proto__ of 1", "constructor of 1", "2 of 1"],
  });
  expect(done).toEqual(["one", "__proto__", "constructor", "2"]);
  const { response } = await callWorker(`/tasks/${String(task?.id)}/events`);
  const steps = (await response.text()).match(/^event: step\ndata: .*$/gm) ?? [];
  expect(steps.map((text) => JSON.parse(text.slice(text.indexOf("{"))))).toMatchObject([
    { step: "one", attempt: 1 },
    { step: "__proto__", attempt: 1 },
    { step: "constructor", attempt: 1 },
    { step: "2", attempt: 1 },
  ]);
});
