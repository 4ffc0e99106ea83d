import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { dailyReport, report } from "../../../src/jobs/upkeep/daily-report.ts";
import { type DayData, sinceBefore } from "../../../src/jobs/upkeep/day-data.ts";
import {
  defineTask,
  NonRetryableError,
  registerTaskTypes,
  type TaskContext,
} from "../../../src/tasks/index.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { fetchText, putFile } from "../../support/files.ts";
import { textOfPages } from "../../support/pdf-text.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submit, submitted, taskWhen } from "../../support/submissions.ts";
import { cutAtEveryMoment } from "../../support/task-context.ts";

registerTaskTypes([
  defineTask({ name: "report_good", input: z.unknown(), run: async () => "done" }),
  defineTask({
    name: "report_bad",
    input: z.unknown(),
    run: async () => Promise.reject(new NonRetryableError("as it should")),
  }),
]);

// The first test counts all that there is, and so must stay the first; each other one has a date of its own.
keepQuiet();

const today = () => new Date().toISOString().slice(0, 10);

async function dataOf(date: string): Promise<DayData> {
  const { status, text } = await fetchText(`/files/daily-report-${date}.json`);
  expect(status).toBe(200);
  return JSON.parse(text) as DayData;
}

async function pagesOf(date: string): Promise<string> {
  const { response } = await callWorker(`/files/daily-report-${date}.pdf`);
  return (await textOfPages(new Uint8Array(await response.arrayBuffer()))).join("\n");
}

test("counts the day's tasks, files and calls, as JSON and as PDF", async () => {
  for (const type of ["report_good", "report_good", "report_bad"]) await submitted({ type });
  await putFile("a", "hello");
  await putFile("b", "hello, hello");
  await callForJson("/fetch/demo/todos/1");
  const date = today();
  const id = await submitted({ type: "daily_report", input: { date } });
  const { result } = await taskWhen(id, "succeeded");
  expect(result).toMatchObject({
    date,
    json: { fileId: `daily-report-${date}.json` },
    pdf: { fileId: `daily-report-${date}.pdf`, pages: 2 },
    // The report itself has not ended yet.
    tasks: { created: 4, succeeded: 2, failed: 1 },
    files: { count: 2, bytes: 17 },
    mailTaskId: null,
  });
  const data = await dataOf(date);
  expect(data.tasks.byType).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ type: "report_good", created: 2, succeeded: 2, failed: 0, active: 0 }),
      expect.objectContaining({ type: "report_bad", created: 1, succeeded: 0, failed: 1 }),
      expect.objectContaining({ type: "daily_report", created: 1, active: 1, meanSeconds: null }),
    ]),
  );
  expect(data.tasks.byHour.reduce((sum, { created }) => sum + created, 0)).toBe(4);
  expect(data.files.byHour.reduce((sum, { uploaded }) => sum + uploaded, 0)).toBe(2);
  expect(data.files).toMatchObject({ kept: { count: 2, bytes: 17 }, stored: { count: 2, bytes: 17 } });
  expect(data.upstreams).toContainEqual(expect.objectContaining({ name: "demo", calls: 1, ok: 1 }));
  const text = await pagesOf(date);
  for (const words of [
    `Report of ${date}`,
    "4 created: 2 succeeded, 1 failed",
    "report_bad",
    "2 stored on the day",
    "demo",
  ])
    expect(text).toContain(words);
  expect((await fetchText(`/tasks/${id}/events`)).text).toContain("2 pages stored");
});

test("a day without anything has a report, too", async () => {
  const id = await submitted({
    type: "daily_report",
    input: { date: "2020-02-29", time_zone: "Europe/Berlin" },
  });
  expect(await taskWhen(id, "succeeded")).toMatchObject({
    result: { tasks: { created: 0 }, files: { count: 0 } },
  });
  expect(await pagesOf("2020-02-29")).toContain("No task was created.");
});

test("reports the same wherever it was cut, and replaces its own files", async () => {
  const collected = new Map<number, string>();
  await cutAtEveryMoment(
    async () => async (ctx: TaskContext) => report(env, ctx, { date: "2020-01-01", time_zone: "UTC" }),
    async ({ json }, task, cutAt) => {
      const data = await dataOf("2020-01-01");
      expect(task.steps.get("data")).toEqual(data);
      expect(json.fileId).toBe("daily-report-2020-01-01.json");
      collected.set(cutAt, data.collectedAt);
    },
  );
  expect(collected.size).toBeGreaterThan(4);
  const { files } = (await callForJson("/files?prefix=daily-report-2020-01-01")).body;
  expect(files).toHaveLength(2);
});

describe("the calls of an upstream", () => {
  const totals = (granted: number, since = "2026-11-26T08:00:00.000Z") => ({
    since,
    granted,
    handedOn: 0,
    expired: 0,
    retries: 1,
    retriesRefused: 0,
    outcomes: { ok: granted - 2, overloaded: 0, failed: 2, unknown: 0 },
    refused: {
      "queue-full": 1,
      "too-many-requests": 0,
      "wait-limit": 2,
      paused: 0,
      "breaker-open": 0,
      "too-heavy": 0,
    },
    waits: [],
  });
  const day = (granted: number, before?: Parameters<typeof sinceBefore>[1]) =>
    sinceBefore({ name: "api", totals: totals(granted), latencyMs: null }, before);

  test("are those since the report before", () => {
    const before = { collectedAt: "2026-11-26T23:00:00.000Z", upstreams: [day(10)] };
    expect(day(25, before)).toMatchObject({
      since: before.collectedAt,
      calls: 15,
      ok: 15,
      failed: 0,
      refused: 0,
    });
  });

  test("are those since its semaphore has started, if there is no report before, or it has started since", () => {
    const restarted = { ...day(90), totals: { ...day(90).totals, since: "2026-11-20T00:00:00.000Z" } };
    const before = { collectedAt: "2026-11-26T23:00:00.000Z", upstreams: [restarted] };
    for (const earlier of [undefined, before])
      expect(day(25, earlier)).toMatchObject({
        since: "2026-11-26T08:00:00.000Z",
        calls: 25,
        failed: 2,
        refused: 3,
      });
  });

  test("are counted for each shard, since one may have started anew", () => {
    const shard = (number: number, granted: number, since?: string) => {
      const idle = { concurrency: 1, limitNow: 1, held: 0, waiting: 0, obstacle: null };
      return { ...idle, shard: number, breaker: "closed" as const, totals: totals(granted, since) };
    };
    const dayOf = (before: Parameters<typeof sinceBefore>[1], ...responding: ReturnType<typeof shard>[]) => {
      const shards = { count: 2, lost: [], responding };
      return sinceBefore({ name: "api", totals: totals(0), latencyMs: null, shards }, before);
    };
    const first = dayOf(undefined, shard(0, 10), shard(1, 50));
    expect(first).toMatchObject({ calls: 60, failed: 4, since: "2026-11-26T08:00:00.000Z" });
    const before = { collectedAt: "2026-11-26T23:00:00.000Z", upstreams: [first] };
    const restarted = shard(1, 7, "2026-11-26T23:30:00.000Z");
    expect(dayOf(before, shard(0, 15), restarted)).toMatchObject({
      calls: 5 + 7,
      failed: 0 + 2,
      since: before.collectedAt,
    });
  });
});

describe("a report that is to be mailed", () => {
  test("starts send_email with the PDF", async () => {
    const email = { to: ["ada@example.com"], subject: "Yesterday" };
    const id = await submitted({ type: "daily_report", input: { date: "2020-01-03", email } });
    const { mailTaskId } = (await taskWhen(id, "succeeded")).result as { mailTaskId: string };
    expect(await taskWhen(mailTaskId, "succeeded")).toMatchObject({
      type: "send_email",
      input: { ...email, attachments: [{ fileId: "daily-report-2020-01-03.pdf" }] },
    });
  });

  test("starts it once, wherever it was cut", async () => {
    const email = { to: ["ada@example.com"] };
    const ids = new Set<string | null>();
    await cutAtEveryMoment(
      async () => async (ctx: TaskContext) =>
        report(env, ctx, { date: "2020-01-02", time_zone: "UTC", email }),
      ({ mailTaskId }) => void ids.add(mailTaskId),
    );
    expect(ids.size).toBe(1);
  });

  test("to nobody who is allowed fails before anything is stored", async () => {
    const email = { to: ["eve@elsewhere.example"] };
    const id = await submitted({ type: "daily_report", input: { date: "2020-01-04", email } });
    expect(await taskWhen(id, "failed")).toMatchObject({
      error: { message: expect.stringContaining("the report cannot be mailed") },
    });
    expect((await callForJson("/files?prefix=daily-report-2020-01-04")).body.files).toEqual([]);
  });
});

test.each([
  [{ date: "2026-02-30" }, "json/input/date"],
  [{ date: "2026-13-01" }, "json/input/date"],
  [{ date: "" }, "json/input/date"],
  [{ date: "2999-01-01" }, "json/input/date"],
  [{ date: "1999-12-31" }, "json/input/date"],
  [{ time_zone: "Mars" }, "json/input/time_zone"],
  [{ date: "2020-01-01", time_zone: "Mars" }, "json/input/time_zone"],
  [{ email: { to: [] } }, "json/input/email/to"],
  [{ expires_in: 0 }, "json/input/expires_in"],
  [{ day: "2026-01-01" }, "json/input"],
])("refuses %j, and starts nothing", async (input, at) => {
  const { status, body } = await submit({ type: "daily_report", input });
  expect([status, body.errors]).toEqual([422, [expect.objectContaining({ at })]]);
});

test("takes any day from 2000 on that has begun in its time zone", () => {
  const takes = (date: string, time_zone: string) => dailyReport.input.safeParse({ date, time_zone }).success;
  expect(takes("2000-01-01", "UTC")).toBe(true);
  const inHours = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString().slice(0, 10);
  // 14 hours ahead of UTC, and 11 behind it.
  for (const [timeZone, ahead] of [
    ["Pacific/Kiritimati", 14],
    ["Pacific/Pago_Pago", -11],
  ] as const)
    expect([inHours(ahead), inHours(ahead + 24)].map((date) => takes(date, timeZone))).toEqual([true, false]);
});

test("without a date it is about the day before", async () => {
  const input = dailyReport.input.parse({});
  expect(input).toEqual({ time_zone: "UTC" });
});
