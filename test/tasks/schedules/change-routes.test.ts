/** Schedules under ids of one's own: replaced, changed in part, paused and resumed through the API. */
import { env, evictDurableObject, reset, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { defineTask } from "../../../src/tasks/index.ts";
import { defineSchedule, registerSchedules } from "../../../src/tasks/schedules/registry.ts";
import { type newScheduleSchema, scheduleChangeSchema } from "../../../src/tasks/schedules/schema.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { callForJson } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { brokenScheduler, change } from "../../support/schedulers.ts";

const NOW = Date.UTC(2030, 0, 1, 12);
const MINUTE = 60_000;

const work = defineTask({
  name: "changes_work",
  input: z.object({ pages: z.int() }),
  run: async () => null,
});
const plain = defineTask({ name: "changes_plain", input: z.object({}), run: async () => null });
const also = defineTask({ ...work, name: "changes_also" });
registerTaskTypes([work, plain, also]);

const BODY = { cron: "*/15 * * * *", type: "changes_work", input: { pages: 3 } };
const FOLLOW_UP = { type: "changes_plain", input: {}, priority: 0 };
const send = async (
  method: string,
  id: string,
  body: object,
  headers: Record<string, string> = {},
  more = {},
) =>
  callForJson(`/schedules/${id}`, {
    method,
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...headers },
    ...more,
  });
const put = async (id: string, body: object, headers: Record<string, string> = {}) =>
  send("PUT", id, body, headers);
const patch = async (id: string, body: object, headers: Record<string, string> = {}) =>
  send("PATCH", id, body, headers);
const read = async (id: string) => (await callForJson(`/schedules/${id}`)).body;
const ring = async (atMs: number) => {
  vi.setSystemTime(atMs);
  return runDurableObjectAlarm(env.SCHEDULER.getByName("schedules"));
};

keepQuiet();
beforeEach(async () => {
  await reset();
  registerSchedules([]);
  vi.useFakeTimers({ toFake: ["Date"], now: NOW });
});
afterEach(() => {
  registerSchedules([]);
  vi.useRealTimers();
});

describe("PUT /schedules/{id}", () => {
  test("creates a schedule under the id, and then gives the same, however often it is sent", async () => {
    const first = await put("nightly", BODY);
    expect(first.status).toBe(201);
    expect(first.body).toMatchObject({
      id: "nightly",
      url: "http://localhost/schedules/nightly",
      paused: false,
    });
    expect(first.headers.get("Location")).toBe(first.body.url);
    const again = await put("nightly", BODY);
    expect([again.status, again.body]).toEqual([200, first.body]);
    expect(again.headers.get("ETag")).toBe(first.headers.get("ETag"));
    expect(await read("nightly")).toEqual(first.body);
  });

  test("replaces the whole definition, and keeps what has happened", async () => {
    await put("a.b-c_1", { ...BODY, time_zone: "Asia/Kolkata", overlap: "queue", missed: "skip" });
    await ring(NOW + 15 * MINUTE);
    const { lastTaskId } = await read("a.b-c_1");
    expect(lastTaskId).toEqual(expect.any(String));
    const { status, body } = await put("a.b-c_1", { cron: "@hourly", type: "changes_plain" });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      cron: "@hourly",
      timeZone: "UTC",
      type: "changes_plain",
      input: {},
      overlap: "skip",
      missed: "run_once",
      createdAt: "2030-01-01T12:00:00.000Z",
      lastTaskId,
    });
    expect((body.next as string[])[0]).toBe("2030-01-01T13:00:00.000Z");
  });

  test.each(["-a", ".a", "a b", "ä", "x".repeat(65), "a/b"])("refuses the id %j", async (id) => {
    const { status } = await put(encodeURIComponent(id), BODY);
    expect(status).toBe(422);
    expect((await callForJson("/schedules")).body.schedules).toEqual([]);
  });

  test("changes nothing if the body is not valid", async () => {
    const { body: before } = await put("a", BODY);
    for (const [wrong, at] of [
      [{ ...BODY, cron: "61 * * * *" }, "json/cron"],
      [{ ...BODY, input: {} }, "json/input/pages"],
      [{ ...BODY, paused: "yes" }, "json/paused"],
      [{ ...BODY, id: "b" }, "json/"],
      [{ cron: "@daily" }, "json/type"],
    ] as const) {
      const { status, body } = await put("a", wrong);
      expect([status, (body.errors as { at: string }[])[0]?.at]).toEqual([422, at]);
    }
    expect(await read("a")).toEqual(before);
  });

  test("keeps to If-None-Match and If-Match", async () => {
    const first = await put("a", BODY, { "If-None-Match": "*" });
    expect(first.status).toBe(201);
    const etag = String(first.headers.get("ETag"));
    const refused = await put("a", { ...BODY, cron: "@daily" }, { "If-None-Match": "*" });
    expect([refused.status, refused.body.type]).toEqual([412, "urn:sluice:problem:precondition-failed"]);
    // A tick is no change of the definition.
    await ring(NOW + 15 * MINUTE);
    const changed = await put("a", { ...BODY, cron: "@daily" }, { "If-Match": etag });
    expect(changed.status).toBe(200);
    expect((await put("a", { ...BODY, cron: "@weekly" }, { "If-Match": etag })).status).toBe(412);
    expect((await put("new", BODY, { "If-Match": "*" })).status).toBe(412);
    expect(await read("a")).toMatchObject({ cron: "@daily" });
  });

  test("of two that create the same one, exactly one does", async () => {
    const both = await Promise.all([1, 2].map(async () => put("a", BODY, { "If-None-Match": "*" })));
    expect(both.map(({ status }) => status)).toEqual(expect.arrayContaining([201, 412]));
  });

  test("is made once, if its reply was lost", async () => {
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    let asked = 0;
    const variables = brokenScheduler("put", () => ++asked === 1, "reply");
    const { status } = await send("PUT", "a", BODY, { "If-Match": "*" }, { variables });
    expect([status, asked]).toEqual([412, 2]);
    asked = 0;
    expect((await send("PUT", "a", BODY, {}, { variables })).status).toBe(200);
    expect(asked).toBe(2);
  });
});

describe("PATCH /schedules/{id}", () => {
  test("changes what is named, and nothing else", async () => {
    const then = [{ type: "changes_plain", input: { pages: "{{input.pages}}" } }];
    const { body: before } = await put("a", { ...BODY, overlap: "queue", then });
    for (const [member, expected] of [
      [{ cron: "@daily" }, { cron: "@daily" }],
      [{ time_zone: "Europe/Berlin" }, { timeZone: "Europe/Berlin" }],
      [{ input: { pages: 4 } }, { input: { pages: 4 } }],
      [{ missed: "skip" }, { missed: "skip" }],
      [{}, {}],
      [{ then: null }, { then: [] }],
    ] as const) {
      const { next: _, ...old } = await read("a");
      const { status, body } = await patch("a", member);
      expect(status).toBe(200);
      expect(body).toMatchObject({ ...old, ...expected });
    }
    expect(before).toMatchObject({ then: [{ type: "changes_plain" }] });
  });

  test("changes each member that PUT sets, and takes away what may be missing with null", async () => {
    const changes: Record<keyof z.input<typeof newScheduleSchema>, [unknown, object]> = {
      cron: ["@daily", { cron: "@daily" }],
      time_zone: ["Europe/Berlin", { timeZone: "Europe/Berlin" }],
      type: ["changes_also", { type: "changes_also" }],
      input: [{ pages: 4 }, { input: { pages: 4 } }],
      then: [[FOLLOW_UP], { then: [FOLLOW_UP] }],
      tags: [["b", "a", "b"], { tags: ["b", "a"] }],
      unique: [{ key: "k", within: 60 }, { unique: { key: "k", within: 60 } }],
      debounce: [{ key: "k", wait: 5 }, { debounce: { key: "k", wait: 5 } }],
      overlap: ["queue", { overlap: "queue" }],
      missed: ["skip", { missed: "skip" }],
      paused: [true, { paused: true }],
    };
    expect(Object.keys(scheduleChangeSchema.shape).toSorted()).toEqual(Object.keys(changes).toSorted());
    const { body: before } = await put("a", BODY);
    for (const [member, [value, shown]] of Object.entries(changes)) {
      const changed = await patch("a", { [member]: value });
      expect(changed.status).toBe(200);
      expect(changed.body).toEqual({ ...before, next: changed.body.next, ...shown });
      if (["then", "tags", "unique", "debounce"].includes(member))
        expect((await patch("a", { [member]: null })).body).toEqual(before);
      else await put("a", BODY);
    }
  });

  test("keeps tags and keys through every other change, and puts one key in place of another", async () => {
    const labels = { tags: ["x"], unique: { key: "k", on_conflict: "reject" } };
    await put("a", { ...BODY, ...labels });
    for (const other of [{ input: { pages: 4 } }, { cron: "@daily" }, { paused: true }, { paused: false }])
      expect((await patch("a", other)).body).toMatchObject({ ...other, ...labels });
    const both = await patch("a", { debounce: { key: "d", wait: 1 } });
    expect(both.status).toBe(422);
    expect(both.body.errors).toEqual([
      { at: "json/debounce", detail: "excludes unique: give only one of the two, or null for the other" },
    ]);
    const swapped = await patch("a", { debounce: { key: "d", wait: 1 }, unique: null });
    expect(swapped.body).toMatchObject({ tags: ["x"], debounce: { key: "d", wait: 1 } });
    expect(swapped.body).not.toHaveProperty("unique");
  });

  test("checks the whole that results: the input against the type, what follows against the input", async () => {
    await put("a", { ...BODY, then: [{ type: "changes_work", input: { pages: "{{input.pages}}" } }] });
    const before = await read("a");
    for (const [wrong, at] of [
      [{ input: { pages: "x" } }, "json/input/pages"],
      [{ input: {}, type: "changes_plain" }, "json/then/0/input/pages"],
      [{ type: "none" }, "json/type"],
      [{ cron: "x" }, "json/cron"],
      [{ time_zone: "BST" }, "json/time_zone"],
      [{ paused: null }, "json/paused"],
      [{ declared: true }, "json/"],
      [{ tags: ["a b"] }, "json/tags/0"],
      [{ unique: { key: "" } }, "json/unique/key"],
      [{ debounce: { key: "d", wait: 5, max_wait: 1 } }, "json/debounce/max_wait"],
    ] as const) {
      const { status, body } = await patch("a", wrong);
      expect([status, (body.errors as { at: string }[])[0]?.at]).toEqual([422, at]);
    }
    expect(await read("a")).toEqual(before);
  });

  test("is a 404 for what does not exist, and keeps to If-Match", async () => {
    expect((await patch("a", { paused: true })).status).toBe(404);
    const { headers } = await put("a", BODY);
    expect((await patch("a", { paused: true }, { "If-Match": '"x"' })).status).toBe(412);
    const paused = await patch("a", { paused: true }, { "If-Match": String(headers.get("ETag")) });
    expect([paused.status, paused.body.paused]).toEqual([200, true]);
    expect(paused.headers.get("ETag")).not.toBe(headers.get("ETag"));
  });

  test("undoes no other change that is made at the same time", async () => {
    await put("a", BODY);
    const changes = [{ overlap: "queue" }, { missed: "skip" }, { cron: "@daily" }, { input: { pages: 9 } }];
    const statuses = await Promise.all(changes.map(async (one) => (await patch("a", one)).status));
    expect(statuses).toEqual([200, 200, 200, 200]);
    expect(await read("a")).toMatchObject({
      overlap: "queue",
      missed: "skip",
      cron: "@daily",
      input: { pages: 9 },
    });
  });
});

describe("a pause", () => {
  test("takes no tick, and after it the next one runs, with nothing missed", async () => {
    await put("a", BODY);
    const { body } = await patch("a", { paused: true });
    expect(body).toMatchObject({ paused: true, next: [], lastTaskId: null });
    await ring(NOW + 20 * MINUTE);
    expect(await read("a")).toMatchObject({ lastTaskId: null, missedCount: 0, skippedCount: 0 });
    vi.setSystemTime(NOW + 50 * MINUTE);
    const resumed = await patch("a", { paused: false });
    expect(resumed.body).toMatchObject({ paused: false, missedCount: 0 });
    expect((resumed.body.next as string[])[0]).toBe("2030-01-01T13:00:00.000Z");
    await ring(NOW + 60 * MINUTE);
    expect(await read("a")).toMatchObject({ lastTickAt: "2030-01-01T13:00:00.000Z", missedCount: 0 });
  });

  test("is possible for one that cannot run any more, and its end is not", async () => {
    await put("a", BODY);
    await change("a", { cron: "nonsense", type: "changes_gone" });
    expect((await patch("a", { paused: true })).status).toBe(200);
    const { status, body } = await patch("a", { paused: false });
    expect([status, (body.errors as { at: string }[])[0]?.at]).toEqual([422, "json/cron"]);
  });
});

test("what is declared in code is changed by neither, with a 409 that says where", async () => {
  registerSchedules([defineSchedule({ id: "x", cron: "0 0 * * Monday", type: work, input: { pages: 1 } })]);
  await callForJson("/schedules");
  await evictDurableObject(env.SCHEDULER.getByName("schedules"));
  const before = await read("x");
  expect(before).toMatchObject({ declared: true, cron: "0 0 * * MON" });
  for (const { status, body } of [await put("x", BODY), await patch("x", { paused: true })]) {
    expect([status, body.type]).toEqual([409, "urn:sluice:problem:conflict"]);
    expect(body.detail).toContain("declared in code. Change it or remove it in src/jobs/schedules.ts");
  }
  expect(await read("x")).toEqual(before);
});
