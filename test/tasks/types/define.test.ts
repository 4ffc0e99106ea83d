import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
// The Worker, with the types that it registers by itself.
import "../../support/worker.ts";
import type { Start, TaskType } from "../../../src/tasks/index.ts";
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
  test("by default is retried three times, may take an hour, and starts in the request", () => {
    const type = defineTask(given);
    expect(type).toEqual({
      ...given,
      retry: { retries: 3, minDelayMs: 1_000, maxDelayMs: 600_000, factor: 2 },
      timeoutMs: 3_600_000,
      lane: "fast",
    });
    expect(type.concurrency).toBeUndefined();
  });

  test("keeps the values that it is given", () => {
    const values = { timeoutMs: 5, concurrency: 2, lane: "long" as const };
    expect(defineTask({ ...given, ...values, retry: { retries: 0 } })).toEqual({
      ...given,
      ...values,
      retry: { ...DEFAULT_RETRY, retries: 0 },
    });
  });

  const HOUR_MS = 3_600_000;
  test.each<[string, Partial<Parameters<typeof defineTask>[0]>, boolean]>([
    ["a name of all allowed characters", { name: "Az09_.-" }, true],
    ["a name of 64 characters", { name: "n".repeat(64) }, true],
    ["a name of 65 characters", { name: "n".repeat(65) }, false],
    ["an empty name", { name: "" }, false],
    ["a name with a space", { name: "a b" }, false],
    ["a name with a slash", { name: "a/b" }, false],
    ["a name with a letter that is not ASCII", { name: "é" }, false],
    ["a name with a line break", { name: "a\n" }, false],
    ["a concurrency of 1", { concurrency: 1 }, true],
    ["a concurrency of 0", { concurrency: 0 }, false],
    ["a concurrency of 1.5", { concurrency: 1.5 }, false],
    ["a concurrency of NaN", { concurrency: Number.NaN }, false],
    ["no retries", { retry: { retries: 0 } }, true],
    ["a negative number of retries", { retry: { retries: -1 } }, false],
    ["half a retry", { retry: { retries: 0.5 } }, false],
    ["infinite retries", { retry: { retries: Number.POSITIVE_INFINITY } }, false],
    ["immediate retries", { retry: { minDelayMs: 0, maxDelayMs: 0, factor: 1 } }, true],
    ["a negative delay", { retry: { minDelayMs: -1 } }, false],
    ["a maximum delay below the minimum", { retry: { minDelayMs: 10, maxDelayMs: 9 } }, false],
    ["a factor below 1", { retry: { factor: 0.9 } }, false],
    ["a delay of NaN", { retry: { minDelayMs: Number.NaN } }, false],
    ["a factor of NaN", { retry: { factor: Number.NaN } }, false],
    ["a timeout of a day", { timeoutMs: 24 * HOUR_MS }, true],
    ["a longer timeout", { timeoutMs: 24 * HOUR_MS + 1 }, false],
    ["a timeout of 0", { timeoutMs: 0 }, false],
    ["a timeout of NaN", { timeoutMs: Number.NaN }, false],
  ])("with %s is accepted or rejected", (_name, other, isAccepted) => {
    const define = () => defineTask({ ...given, ...other });
    if (isAccepted) return expect(define()).toMatchObject(other);
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
    // A submission has the schema's input type, not its output type.
    expectTypeOf<Start<typeof schema>["input"]>().toEqualTypeOf<{ n: string; m?: number | undefined }>();
    expect(type.name).toBe("define_typed");
  });
});

test("a NonRetryableError has that name and keeps its cause", () => {
  const cause = new Error("why");
  expect(new NonRetryableError("no", { cause })).toMatchObject({
    name: "NonRetryableError",
    message: "no",
    cause,
  });
});

describe("the registry", () => {
  test("finds a registered type by its name, and nothing else", () => {
    const type = defineTask({ ...given, name: "define_registered" });
    expect(findTaskType("define_registered")).toBeUndefined();
    registerTaskTypes([type]);
    expect([findTaskType("define_registered"), findOpenTaskType("define_registered")]).toEqual([type, type]);
    expect(openTaskTypes()).toContain(type);
    for (const name of ["constructor", "__proto__", ""]) expect(findTaskType(name)).toBeUndefined();
  });

  test("accepts each name once", () => {
    registerTaskTypes([defineTask({ ...given, name: "define_once" })]);
    expect(() => registerTaskTypes([defineTask({ ...given, name: "define_once" })])).toThrow(
      'two task types "define_once"',
    );
  });

  test("hides the callback type from callers, and rejects one with a concurrency", () => {
    expect(findTaskType(CALLBACK_TYPE)?.name).toBe("callback");
    expect(findOpenTaskType(CALLBACK_TYPE)).toBeUndefined();
    expect(openTaskTypes().map(({ name }) => name)).not.toContain("callback");
    const capped = defineTask({ ...given, name: CALLBACK_TYPE, concurrency: 1 });
    expect(() => registerTaskTypes([capped])).toThrow("cannot have a concurrency");
  });
});
