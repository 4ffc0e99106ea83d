import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
// The Worker, for the types that it registers by itself.
import "../../support/worker.ts";
import { type Start, type TaskType } from "../../../src/tasks/index.ts";
import {
  CALLBACK_TYPE,
  DEFAULT_RETRY,
  defineTask,
  NonRetryableError,
  type TaskContext,
} from "../../../src/tasks/types/define.ts";
import {
  findOpenTaskType,
  findTaskType,
  openTaskTypes,
  registerTaskTypes,
} from "../../../src/tasks/types/registry.ts";

const input = z.unknown();
const run = async () => null;
const given = { name: "define_it", input, run };

describe("a task type", () => {
  test("is retried three times, may take an hour, and begins in the request, if it does not say otherwise", () => {
    const type = defineTask(given);
    expect(type).toEqual({
      ...given,
      retry: { retries: 3, minDelayMs: 1_000, maxDelayMs: 600_000, factor: 2 },
      timeoutMs: 3_600_000,
      lane: "fast",
    });
    expect(type.concurrency).toBeUndefined();
  });

  test("is as it says", () => {
    const said = { timeoutMs: 5, concurrency: 2, lane: "long" as const };
    expect(defineTask({ ...given, ...said, retry: { retries: 0 } })).toEqual({
      ...given,
      ...said,
      retry: { ...DEFAULT_RETRY, retries: 0 },
    });
  });

  const HOUR_MS = 3_600_000;
  test.each<[string, Partial<Parameters<typeof defineTask>[0]>, boolean]>([
    ["a name with all that it may have", { name: "Az09_.-" }, true],
    ["a name of 64 characters", { name: "n".repeat(64) }, true],
    ["one of 65", { name: "n".repeat(65) }, false],
    ["none", { name: "" }, false],
    ["a name with a space", { name: "a b" }, false],
    ["with a slash", { name: "a/b" }, false],
    ["with a letter that is not ASCII", { name: "é" }, false],
    ["with a line's end", { name: "a\n" }, false],
    ["a concurrency of 1", { concurrency: 1 }, true],
    ["of 0", { concurrency: 0 }, false],
    ["of 1.5", { concurrency: 1.5 }, false],
    ["of NaN", { concurrency: Number.NaN }, false],
    ["no retries", { retry: { retries: 0 } }, true],
    ["fewer than none", { retry: { retries: -1 } }, false],
    ["half a retry", { retry: { retries: 0.5 } }, false],
    ["retries without end", { retry: { retries: Number.POSITIVE_INFINITY } }, false],
    ["retries at once", { retry: { minDelayMs: 0, maxDelayMs: 0, factor: 1 } }, true],
    ["a delay below nothing", { retry: { minDelayMs: -1 } }, false],
    ["delays that end before they begin", { retry: { minDelayMs: 10, maxDelayMs: 9 } }, false],
    ["delays that shrink", { retry: { factor: 0.9 } }, false],
    ["a delay that is no number", { retry: { minDelayMs: Number.NaN } }, false],
    ["a factor that is none", { retry: { factor: Number.NaN } }, false],
    ["a day's time", { timeoutMs: 24 * HOUR_MS }, true],
    ["more", { timeoutMs: 24 * HOUR_MS + 1 }, false],
    ["none at all", { timeoutMs: 0 }, false],
    ["a time that is no number", { timeoutMs: Number.NaN }, false],
  ])("with %s", (_name, other, isTaken) => {
    const define = () => defineTask({ ...given, ...other });
    if (isTaken) return expect(define()).toMatchObject(other);
    expect(define).toThrow(TypeError);
    expect(define).toThrow(`The task type "${other.name ?? given.name}": `);
  });

  test("is typed from its schema to its result", () => {
    const schema = z.object({ n: z.string().transform(Number), m: z.int().default(1) });
    const type = defineTask({
      name: "define_typed",
      input: schema,
      async run(ctx, { n, m }) {
        expectTypeOf(ctx).toEqualTypeOf<TaskContext>();
        expectTypeOf([n, m]).toEqualTypeOf<number[]>();
        const doubled = await ctx.step("double", async () => n * 2);
        expectTypeOf(doubled).toEqualTypeOf<number>();
        return { sum: doubled + m };
      },
    });
    expectTypeOf(type).toEqualTypeOf<TaskType<typeof schema, { sum: number }>>();
    expectTypeOf<typeof type.run>().returns.resolves.toEqualTypeOf<{ sum: number }>();
    // What is submitted is what the schema takes, not what it gives.
    expectTypeOf<Start<typeof schema>["input"]>().toEqualTypeOf<{ n: string; m?: number | undefined }>();
    expect(type.name).toBe("define_typed");
  });
});

test("an error that is not to be retried says so by its name, and keeps its cause", () => {
  const cause = new Error("why");
  expect(new NonRetryableError("no", { cause })).toMatchObject({
    name: "NonRetryableError",
    message: "no",
    cause,
  });
});

describe("the registry", () => {
  test("finds a type by its name, and knows no other", () => {
    const type = defineTask({ ...given, name: "define_registered" });
    expect(findTaskType("define_registered")).toBeUndefined();
    registerTaskTypes([type]);
    expect([findTaskType("define_registered"), findOpenTaskType("define_registered")]).toEqual([type, type]);
    expect(openTaskTypes()).toContain(type);
    for (const name of ["constructor", "__proto__", ""]) expect(findTaskType(name)).toBeUndefined();
  });

  test("takes each name once", () => {
    registerTaskTypes([defineTask({ ...given, name: "define_once" })]);
    expect(() => registerTaskTypes([defineTask({ ...given, name: "define_once" })])).toThrow(
      'two task types "define_once"',
    );
  });

  test("shows callers no callback, and takes none with a cap", () => {
    expect(findTaskType(CALLBACK_TYPE)?.name).toBe("callback");
    expect(findOpenTaskType(CALLBACK_TYPE)).toBeUndefined();
    expect(openTaskTypes().map(({ name }) => name)).not.toContain("callback");
    const capped = defineTask({ ...given, name: CALLBACK_TYPE, concurrency: 1 });
    expect(() => registerTaskTypes([capped])).toThrow("no cap");
  });
});
