/** What a submission may contain, and what distinguishes one payload from another. */

import { env, reset } from "cloudflare:test";
import * as fc from "fast-check";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import {
  checkSubmission,
  createTasks,
  fingerprint,
  submissionSchema,
} from "../../../src/tasks/http/submission.ts";
import { defineTask, registerTaskTypes } from "../../../src/tasks/index.ts";
import { SHARDS, shardOf, shardOfName } from "../../../src/tasks/ledger/task-id.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submit, taskRows } from "../../support/submissions.ts";

const person = z.object({ name: z.string().min(2), children: z.array(z.object({ age: z.int() })) });
registerTaskTypes([
  defineTask({ name: "submission_person", input: person, run: async () => null }),
  defineTask({ name: "submission_any", input: z.unknown(), run: async () => null }),
  defineTask({ name: "submission_long", input: z.unknown(), lane: "long", run: async () => null }),
  defineTask({ name: "submission_capped", input: z.unknown(), concurrency: 1, run: async () => null }),
]);

const parse = (submission: unknown) => submissionSchema.parse(submission);

keepQuiet();

describe("an invalid submission: every error is named, and nothing is stored", () => {
  beforeEach(() => reset());

  const ANY = { type: "submission_any", delay: 60 };
  const PERSON = { type: "submission_person", delay: 60 };
  const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString();
  const textOf = (length: number) => "x".repeat(length - 2);

  test.each<[string, unknown, string[] | null]>([
    [
      "a valid submission, for comparison",
      { ...PERSON, input: { name: "Ada", children: [{ age: 1 }] } },
      null,
    ],
    ["a missing input", PERSON, ["input/name", "input/children"]],
    [
      "an input that does not fit in several places",
      { ...PERSON, input: { name: "A", children: [{ age: 1 }, { age: 1.5 }, {}] } },
      ["input/name", "input/children/1/age", "input/children/2/age"],
    ],
    ["an input that is not an object", { ...PERSON, input: [] }, ["input"]],
    ["an input of 512 KiB", { ...ANY, input: textOf(524_288) }, null],
    ["an input one byte longer", { ...ANY, input: textOf(524_289) }, ["input"]],
    ["an input of 512 KiB in three-byte characters", { ...ANY, input: "漢".repeat(174_762) }, null],
    [
      "an input one byte longer, in such characters",
      { ...ANY, input: `${"漢".repeat(174_762)}x` },
      ["input"],
    ],
    ["an unknown type", { type: "submission_none" }, ["type"]],
    ["a type named like a member of every object", { type: "constructor" }, ["type"]],
    [
      "the callback type, which only the ledger starts",
      { type: "callback", input: { taskId: "a", url: "b" } },
      ["type"],
    ],
    ["no type", { input: {} }, ["type"]],
    ["a type that is not a string", { type: 1 }, ["type"]],
    ["the lowest priority", { ...ANY, priority: 0 }, null],
    ["the highest priority", { ...ANY, priority: 9 }, null],
    ["a priority of -1", { ...ANY, priority: -1 }, ["priority"]],
    ["a priority of 10", { ...ANY, priority: 10 }, ["priority"]],
    ["a priority with a fraction", { ...ANY, priority: 1.5 }, ["priority"]],
    ["a priority as text", { ...ANY, priority: "1" }, ["priority"]],
    ["a delay of a year", { ...ANY, delay: 366 * 86_400 }, null],
    ["a longer delay", { ...ANY, delay: 366 * 86_400 + 1 }, ["delay"]],
    ["a negative delay", { ...ANY, delay: -1 }, ["delay"]],
    ["a delay as text", { ...ANY, delay: "60" }, ["delay"]],
    [
      "a time with an offset, too far away",
      { type: "submission_any", run_at: "2999-01-01T00:00:00+02:00" },
      ["run_at"],
    ],
    ["a time in 365 days", { type: "submission_any", run_at: inDays(365) }, null],
    ["a time in 367 days", { type: "submission_any", run_at: inDays(367) }, ["run_at"]],
    ["a time without an offset", { type: "submission_any", run_at: "2026-12-01T00:00:00" }, ["run_at"]],
    ["a date alone", { type: "submission_any", run_at: "2026-12-01" }, ["run_at"]],
    ["a day that does not exist", { type: "submission_any", run_at: "2026-02-30T00:00:00Z" }, ["run_at"]],
    ["a month that does not exist", { type: "submission_any", run_at: "2026-13-01T00:00:00Z" }, ["run_at"]],
    ["a time as a number", { type: "submission_any", run_at: 1e12 }, ["run_at"]],
    ["both a delay and a time", { ...ANY, run_at: inDays(1) }, ["run_at"]],
    ["a callback to an allowed origin", { ...ANY, callback_url: "https://app.example.com/hooks/" }, null],
    ["a callback to another origin", { ...ANY, callback_url: "https://evil.example/" }, ["callback_url"]],
    [
      "a callback to something that is not a URL",
      { ...ANY, callback_url: "app.example.com" },
      ["callback_url"],
    ],
    [
      "a callback to a URL that is too long",
      { ...ANY, callback_url: `https://app.example.com/${"x".repeat(2000)}` },
      ["callback_url"],
    ],
    ["an unknown member", { ...ANY, retries: 3 }, [""]],
    ["several errors at once", { ...ANY, priority: 10, delay: -1 }, ["delay", "priority"]],
    [
      "errors of the schema's kind and of the callback at once",
      { ...PERSON, callback_url: "https://evil.example/", input: { name: "Ada" } },
      ["input/children", "callback_url"],
    ],
  ])("%s", async (_name, one, wrong) => {
    const single = await submit(one);
    const batch = await submit([{ type: "submission_any", delay: 60 }, one]);
    const status = wrong === null ? 202 : 422;
    expect([single.status, batch.status]).toEqual([status, status]);
    const kept = (await taskRows()).length;
    if (wrong === null) return expect(kept).toBe(3);
    const placesOf = (errors: unknown) => (errors as { at: string }[]).map(({ at }) => at);
    // The place of an error about the whole body ends in an empty member.
    expect(placesOf(single.body.errors)).toEqual(wrong.map((at) => `json/${at}`));
    expect(placesOf(batch.body.errors)).toEqual(wrong.map((at) => (at === "" ? "json/1" : `json/1/${at}`)));
    expect(kept).toBe(0);
  });

  test.each<[string, unknown]>([
    ["an empty batch", []],
    ["1001 tasks", Array.from({ length: 1001 }, () => ANY)],
    ["null", "null"],
    ["text", '"submission_any"'],
    ["a number", "1"],
  ])("%s is one error about the whole body", async (_name, body) => {
    const reply = await submit(body);
    expect([reply.status, reply.body.errors]).toMatchObject([422, [{ at: "json/" }]]);
    expect(await taskRows()).toEqual([]);
  });

  test("a batch within a batch, and values that are not objects, are named by their places", async () => {
    const { status, body } = await submit([ANY, [ANY], 1, null]);
    expect([status, body.errors]).toMatchObject([
      422,
      [{ at: "json/1" }, { at: "json/2" }, { at: "json/3" }],
    ]);
  });

  test("at most a hundred errors are named", async () => {
    const { status, body } = await submit(Array.from({ length: 1000 }, () => ({ type: "submission_none" })));
    expect([status, (body.errors as object[]).length]).toEqual([422, 100]);
  });

  test("a type name that is far too long is not echoed in full", async () => {
    const { body } = await submit({ type: "x".repeat(100_000) });
    expect(JSON.stringify(body).length).toBeLessThan(1000);
  });
});

describe("the tasks of a submission", () => {
  const make = async (submission: unknown, nowMs = 1_000_000) =>
    createTasks(await checkSubmission(env, parse(submission)), () => "s2", nowMs);

  test("have its values, and an id of their own", async () => {
    const [first, second] = await make([
      { type: "submission_any", input: { a: 1 }, priority: 3, delay: 1.0001 },
      { type: "submission_long", callback_url: "https://app.example.com/hooks/" },
    ]);
    expect(first).toEqual({
      id: expect.stringMatching(/^s2-[0-9a-f-]{36}$/),
      type: "submission_any",
      input: '{"a":1}',
      priority: 3,
      runAtMs: 1_001_001,
      callbackUrl: null,
      lane: "fast",
    });
    expect(second).toMatchObject({
      input: "{}",
      lane: null,
      runAtMs: 1_000_000,
      callbackUrl: "https://app.example.com/hooks/",
    });
    expect(first?.id).not.toBe(second?.id);
  });

  test("are on the given shard, unless their type has its own", async () => {
    const [open, capped] = await make([{ type: "submission_any" }, { type: "submission_capped" }]);
    expect([shardOf(String(open?.id)), shardOf(String(capped?.id))]).toEqual([
      "s2",
      shardOfName("submission_capped"),
    ]);
    expect(SHARDS).toContain(shardOfName("submission_capped"));
  });

  test("wait for their time, with its offset taken into account", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2030-01-01T00:00:00Z") });
    const [task] = await make({ type: "submission_any", run_at: "2030-06-01T12:00:00-05:30" });
    vi.useRealTimers();
    expect(task?.runAtMs).toBe(Date.parse("2030-06-01T17:30:00Z"));
  });
});

describe("the fingerprint", () => {
  const of = (submission: unknown) => fingerprint(parse(submission));
  const a = { type: "t", input: { x: 1, y: { b: [1, 2], c: null } } };

  test.each<[string, unknown, unknown, boolean]>([
    ["the same", a, structuredClone(a), true],
    ["members in another order", a, { input: { y: { c: null, b: [1, 2] }, x: 1 }, type: "t" }, true],
    ["an explicit default", { type: "t" }, { type: "t", input: {}, priority: 0 }, true],
    ["a number in another notation", a, JSON.parse(JSON.stringify(a).replace(":1,", ":1.0,")), true],
    [
      "numeric members in another order",
      { type: "t", input: { 10: 1, 9: 2, a: 3 } },
      { type: "t", input: { a: 3, 9: 2, 10: 1 } },
      true,
    ],
    ["items in another order", a, { ...a, input: { ...a.input, y: { b: [2, 1], c: null } } }, false],
    ["a number and its text", { type: "t", input: { n: 1 } }, { type: "t", input: { n: "1" } }, false],
    ["null and a missing member", { type: "t", input: { n: null } }, { type: "t", input: {} }, false],
    ["another type", { type: "t" }, { type: "u" }, false],
    ["another delay", { type: "t", delay: 1 }, { type: "t", delay: 2 }, false],
    ["another callback URL", { type: "t" }, { type: "t", callback_url: "https://a.example/" }, false],
    ["a task, and a batch of one task", { type: "t" }, [{ type: "t" }], false],
    ["a batch in another order", [{ type: "t" }, { type: "u" }], [{ type: "u" }, { type: "t" }], false],
  ])("of %s is compared", (_name, one, other, isSame) => {
    expect(of(one) === of(other)).toBe(isSame);
  });

  test("is the same for any order of members, and differs for different values", () => {
    const value = fc.jsonValue({ maxDepth: 3 }).filter((json) => !JSON.stringify(json).includes("__proto__"));
    const reversed = (json: unknown): unknown => {
      if (Array.isArray(json)) return json.map(reversed);
      if (typeof json !== "object" || json === null) return json;
      return Object.fromEntries(
        Object.entries(json)
          .toReversed()
          .map(([name, inner]) => [name, reversed(inner)]),
      );
    };
    const print = (json: unknown) => of({ type: "t", input: { json } });
    fc.assert(
      fc.property(value, value, (one, other) => {
        expect(print(reversed(one))).toBe(print(one));
        const isSame = JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
        expect(print(one) === print(other)).toBe(isSame);
      }),
      { numRuns: 500 },
    );
  });
});

/** A second, independent canonical form: pairs instead of members. */
function sorted(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(sorted);
  if (typeof json !== "object" || json === null) return json;
  const pairs = Object.entries(json).map(([name, inner]): [string, unknown] => [name, sorted(inner)]);
  return { pairs: pairs.toSorted(([a], [b]) => (a < b ? -1 : 1)) };
}
