/** Schedules through the API. */
import { env, evictDurableObject, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { RESTART_PAUSES_MS } from "../../../src/kernel/objects.ts";
import { defineTask } from "../../../src/tasks/index.ts";
import { defineSchedule, registerSchedules } from "../../../src/tasks/schedules/registry.ts";
import type { Scheduler } from "../../../src/tasks/schedules/scheduler.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { type CallOptions, callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { brokenScheduler } from "../../support/schedulers.ts";

const NOW = Date.UTC(2030, 0, 1, 12);
const MINUTE = 60_000;

const report = defineTask({
  name: "routes_report",
  input: z.object({ pages: z.int(), tags: z.array(z.string()).default([]) }),
  run: async () => null,
});
const plain = defineTask({ name: "routes_plain", input: z.object({}), run: async () => null });
registerTaskTypes([report, plain]);

const BODY = { cron: "*/15 * * * *", type: "routes_report", input: { pages: 3 } };
const post = async (body: object, options: CallOptions = {}) =>
  callForJson("/schedules", {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" },
    ...options,
  });
const create = async (more: object = {}) => {
  const { status, body } = await post({ ...BODY, ...more });
  expect(status).toBe(201);
  return String(body.id);
};
const listed = async () => {
  const { body } = await callForJson("/schedules?limit=500");
  return body.schedules as { id: string; next: string[] }[];
};

keepQuiet();
beforeEach(async () => {
  await reset();
  registerSchedules([]);
  vi.useFakeTimers({ toFake: ["Date"], now: NOW });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("POST /schedules", () => {
  test("stores a schedule, and returns its URL and next runs", async () => {
    const sent = {
      ...BODY,
      time_zone: "Asia/Kolkata",
      cron: "0 9 * * *",
      overlap: "queue",
      missed: "skip",
    };
    const { status, headers, body } = await post(sent);
    expect(status).toBe(201);
    expect(body).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      url: `http://localhost/schedules/${String(body.id)}`,
      cron: "0 9 * * *",
      timeZone: "Asia/Kolkata",
      type: "routes_report",
      input: { pages: 3 },
      then: [],
      overlap: "queue",
      missed: "skip",
      declared: false,
      paused: false,
      createdAt: "2030-01-01T12:00:00.000Z",
      next: [2, 3, 4, 5, 6].map((day) => `2030-01-0${day}T03:30:00.000Z`),
      lastTickAt: null,
      lastTaskId: null,
      lastTaskUrl: null,
      waiting: 0,
      skippedCount: 0,
      missedCount: 0,
      lastError: null,
    });
    expect(headers.get("Location")).toBe(body.url);
    expect((await callForJson(new URL(String(body.url)).pathname)).body).toEqual(body);
  });

  test("by default is UTC, skips overlaps and runs the last missed tick; the input is optional", async () => {
    const { status, body } = await post({ cron: "  0  12 *  * * ", type: "routes_plain" });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      cron: "0 12 * * *",
      timeZone: "UTC",
      overlap: "skip",
      missed: "run_once",
      input: {},
    });
  });

  test.each([
    [{ cron: "0 0 30 2 *" }, ["json/cron"]],
    [{ cron: "* * 32 * *" }, ["json/cron"]],
    [{ cron: "@reboot" }, ["json/cron"]],
    [{ cron: "* ".repeat(200) }, ["json/cron"]],
    [{ cron: 5 }, ["json/cron"]],
    [{ cron: undefined }, ["json/cron"]],
    [{ time_zone: "Mars/Olympus" }, ["json/time_zone"]],
    [{ type: "routes_none" }, ["json/type"]],
    [{ input: { pages: "3" } }, ["json/input/pages"]],
    [{ input: { pages: 3, tags: ["a", 1] } }, ["json/input/tags/1"]],
    [{ input: undefined }, ["json/input/pages"]],
    [{ input: [] }, ["json/input"]],
    [{ input: { pages: 3, tags: ["x".repeat(9000)] } }, ["json/input"]],
    [{ overlap: "both" }, ["json/overlap"]],
    [{ missed: "all" }, ["json/missed"]],
    [{ timeZone: "UTC" }, ["json/"]],
    [{ cron: "nonsense", input: { pages: "3" } }, ["json/cron", "json/input/pages"]],
  ])("rejects %j, and names what is wrong: %j", async (wrong, at) => {
    const { status, body } = await post({ ...BODY, ...wrong });
    expect(status).toBe(422);
    expect((body.errors as { at: string }[]).map((error) => error.at)).toEqual(at);
    expect(await listed()).toEqual([]);
  });

  test("rejects a body that is not JSON, or is not declared as JSON", async () => {
    expect((await post({}, { body: "{" })).status).toBe(400);
    expect((await post({}, { headers: {} })).status).toBe(415);
  });

  test("with an Idempotency-Key makes one schedule, however often it is sent", async () => {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": '"a-key"' };
    const first = await post(BODY, { headers });
    const again = await post({ ...BODY, input: { pages: 3 } }, { headers });
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get("Location")).toBe(first.body.url);
    expect(await listed()).toHaveLength(1);
    const other = await post({ ...BODY, input: { pages: 4 } }, { headers });
    expect([other.status, other.body.type]).toEqual([422, "urn:sluice:problem:idempotency-key-reused"]);
    await callWorker(`/schedules/${String(first.body.id)}`, { method: "DELETE" });
    const deleted = await post(BODY, { headers });
    expect([deleted.status, deleted.body.type]).toEqual([409, "urn:sluice:problem:conflict"]);
    expect(deleted.body.detail).toContain("which is deleted");
    expect((await post(BODY, { headers: { ...headers, "Idempotency-Key": "a-key" } })).status).toBe(400);
    expect(await listed()).toEqual([]);
  });

  test("with an Idempotency-Key is made by the next request, if the first one failed", async () => {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": '"another-key"' };
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    const failed = await post(BODY, { headers, variables: brokenScheduler("create", () => true) });
    expect(failed.status).toBe(503);
    expect((await post(BODY, { headers })).status).toBe(201);
    expect(await listed()).toHaveLength(1);
  });

  test("may be paused from the start, and keeps names of months and days by three letters", async () => {
    const { body } = await post({ ...BODY, cron: "0 0 * January Monday", paused: true });
    expect(body).toMatchObject({ cron: "0 0 * JAN MON", paused: true, next: [] });
    expect((await post({ ...BODY, cron: "@daily" })).body).toMatchObject({
      cron: "@daily",
      next: [2, 3, 4, 5, 6].map((day) => `2030-01-0${day}T00:00:00.000Z`),
    });
  });

  test("rejects a schedule beyond the limit", async () => {
    const id = await create();
    const scheduler = env.SCHEDULER.getByName("schedules");
    await runInDurableObject(scheduler, (_: Scheduler, { storage }) => {
      storage.sql.exec(
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
         INSERT INTO schedule (id, cron, time_zone, type, input, overlap, missed, is_declared, created_at_ms,
           next_at_ms, look_at_ms) SELECT 'n' || i, cron, time_zone, type, input, overlap, missed, is_declared,
           created_at_ms, next_at_ms, look_at_ms FROM n, schedule WHERE id = ?`,
        id,
      );
    });
    const pages = [];
    for (let cursor = ""; cursor !== "null"; ) {
      const { body } = await callForJson(`/schedules?limit=500&cursor=${cursor}`);
      pages.push((body.schedules as object[]).length);
      cursor = String(body.next);
    }
    expect(pages).toEqual([500, 500]);
    const { status, body } = await post(BODY);
    expect([status, body.type]).toEqual([409, "urn:sluice:problem:conflict"]);
  });
});

test("a tick becomes a task of the type, with the input, and the schedule links to it", async () => {
  const id = await create();
  vi.setSystemTime(NOW + 15 * MINUTE);
  await runDurableObjectAlarm(env.SCHEDULER.getByName("schedules"));
  const { body } = await callForJson(`/schedules/${id}`);
  expect(body).toMatchObject({ lastTickAt: "2030-01-01T12:15:00.000Z", waiting: 0, lastError: null });
  expect((body.next as string[])[0]).toBe("2030-01-01T12:30:00.000Z");
  const { pathname } = new URL(String(body.lastTaskUrl));
  expect(pathname).toBe(`/tasks/${String(body.lastTaskId)}`);
  const task = await callForJson(pathname);
  expect(task.body).toMatchObject({ id: body.lastTaskId, type: "routes_report", input: { pages: 3 } });
});

describe("GET /schedules", () => {
  test("lists all schedules in order of creation, each with its next five ticks", async () => {
    expect(await listed()).toEqual([]);
    const first = await create();
    vi.setSystemTime(NOW + MINUTE);
    const second = await create({ cron: "0 0 29 2 *" });
    const schedules = await listed();
    expect(schedules.map(({ id }) => id)).toEqual([first, second]);
    expect(schedules[1]?.next).toEqual([2032, 2036, 2040, 2044, 2048].map((y) => `${y}-02-29T00:00:00.000Z`));
  });

  test("has each schedule on one page, also those of the same moment, while others come and go", async () => {
    const made = [];
    for (let i = 0; i < 5; i++) made.push(await create());
    const page = async (query: string) => {
      const { body } = await callForJson(`/schedules?limit=2${query}`);
      return { ids: (body.schedules as { id: string }[]).map(({ id }) => id), next: body.next };
    };
    const first = await page("");
    await callWorker(`/schedules/${String(first.ids[0])}`, { method: "DELETE" });
    const second = await page(`&cursor=${String(first.next)}`);
    const third = await page(`&cursor=${String(second.next)}`);
    expect([...first.ids, ...second.ids, ...third.ids]).toEqual(made.toSorted());
    expect(third.next).toBeNull();
  });

  const OF_TASKS = Buffer.from('[5,"s0-01a2189d-1daf-7039-8384-6b825fdee72c"]').toString("base64url");
  test.each(["limit=0", "limit=501", "limit=x", "cursor=nonsense", `cursor=${OF_TASKS}`, "limit=1&limit=2"])(
    "refuses ?%s",
    async (query) => {
      const { status, body } = await callForJson(`/schedules?${query}`);
      expect([status, body.type]).toEqual([422, "urn:sluice:problem:invalid"]);
    },
  );

  test("also lists a schedule whose pattern can no longer be read", async () => {
    const id = await create();
    await runInDurableObject(env.SCHEDULER.getByName("schedules"), (_: Scheduler, { storage }) => {
      storage.sql.exec("UPDATE schedule SET cron = 'nonsense'");
    });
    expect(await listed()).toMatchObject([{ id, cron: "nonsense", next: [] }]);
  });
});

describe("DELETE /schedules/{id}", () => {
  const remove = async (id: string) => callWorker(`/schedules/${id}`, { method: "DELETE" });

  test("deletes it", async () => {
    const id = await create();
    expect((await remove(id)).response.status).toBe(204);
    expect((await callForJson(`/schedules/${id}`)).status).toBe(404);
    expect((await remove(id)).response.status).toBe(404);
    expect(await listed()).toEqual([]);
  });

  test("is a conflict for a schedule that is declared in code", async () => {
    await listed();
    registerSchedules([defineSchedule({ id: "x.y", cron: "* * * * *", type: report, input: { pages: 1 } })]);
    await evictDurableObject(env.SCHEDULER.getByName("schedules"));
    expect((await callForJson("/schedules/x.y")).body).toMatchObject({ id: "x.y", declared: true });
    const { status, body } = await callForJson("/schedules/x.y", { method: "DELETE" });
    expect([status, body.type]).toEqual([409, "urn:sluice:problem:conflict"]);
    expect(body.detail).toContain("is declared in code. Change it or remove it in src/jobs/schedules.ts");
    expect(await listed()).toHaveLength(1);
  });
});

describe("while the scheduler does not respond", () => {
  const ALWAYS = 1 + RESTART_PAUSES_MS.length;
  const ROUTES: [route: string, call: string, asked: number][] = [
    ["POST /schedules", "create", ALWAYS],
    ["GET /schedules", "listPage", ALWAYS],
    ["GET /schedules/{id}", "get", ALWAYS],
    // A repeated call would find the work done, and report a 404.
    ["DELETE /schedules/{id}", "remove", 1],
  ];
  const call = async (route: string, id: string, variables: Record<string, unknown>) => {
    const [method = "", path = ""] = route.split(" ");
    const init = method === "POST" ? { body: JSON.stringify(BODY) } : {};
    const headers = { "Content-Type": "application/json" };
    return callForJson(path.replace("{id}", id), { method, headers, variables, ...init });
  };

  test.each(ROUTES)("%s returns a 503 with Retry-After", async (route, name, most) => {
    const id = await create();
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    let asked = 0;
    const variables = brokenScheduler(name, () => ++asked > 0);
    const { status, headers, body } = await call(route, id, variables);
    expect([status, body.type, headers.get("Retry-After"), headers.get("Cache-Control")]).toEqual([
      503,
      "urn:sluice:problem:ledger-unavailable",
      "1",
      "no-store",
    ]);
    expect(asked).toBe(most);
    expect((await listed()).map((schedule) => schedule.id)).toEqual([id]);
  });

  test.each(ROUTES.filter(([, , most]) => most > 1))(
    "and recovers in time, %s works as usual",
    async (route, name, most) => {
      const id = await create();
      vi.spyOn(scheduler, "wait").mockResolvedValue();
      let asked = 0;
      const { status } = await call(
        route,
        id,
        brokenScheduler(name, () => ++asked < most),
      );
      expect([status, asked]).toEqual([route.startsWith("POST") ? 201 : 200, most]);
      expect(await listed()).toHaveLength(route.startsWith("POST") ? 2 : 1);
    },
  );

  test("a schedule whose reply was lost is created once", async () => {
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    let asked = 0;
    const { status, body } = await call(
      "POST /schedules",
      "",
      brokenScheduler("create", () => ++asked === 1, "reply"),
    );
    expect([status, asked]).toEqual([201, 2]);
    expect((await listed()).map(({ id }) => id)).toEqual([body.id]);
  });
});

test("reading needs the scope read, and changing the scope write", async () => {
  const token = "a-token-that-has-at-least-32-characters";
  const withScope = (scope: string) => ({
    variables: { ACCESS: "tokens", SLUICE_TOKENS: JSON.stringify([{ name: "t", scopes: [scope], token }]) },
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
  });
  const id = await create();
  const statuses = async (scope: string) => [
    (await callWorker("/schedules", withScope(scope))).response.status,
    (await callWorker(`/schedules/${id}`, withScope(scope))).response.status,
    (await post(BODY, withScope(scope))).status,
    (await callWorker(`/schedules/${id}`, { method: "DELETE", ...withScope(scope) })).response.status,
  ];
  expect(await statuses("read")).toEqual([200, 200, 403, 403]);
  expect(await statuses("write")).toEqual([403, 403, 201, 204]);
});
