/** Watching a task through the API: where a reader continues, and links for an EventSource. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { defineTask } from "../../../src/tasks/index.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { EventReader } from "../../support/events.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submitted, taskWhen } from "../../support/submissions.ts";

const ends = defineTask({ name: "events_ends", input: z.object({}), run: async () => "done" });
registerTaskTypes([ends]);

const TOKEN = "a-token-of-these-tests-0123456789-abcdef";
const VARIABLES = {
  ACCESS: "tokens",
  LINK_KEYS: "a-key-of-these-tests-with-32-characters",
  SLUICE_TOKENS: [
    { name: "both", scopes: ["read", "write"], token: TOKEN },
    { name: "writer", scopes: ["write"], token: `${TOKEN}-writer` },
  ],
};
const site = "https://sluice.example.com";

keepQuiet();

async function ended(): Promise<string> {
  const id = await submitted({ type: "events_ends" });
  await taskWhen(id, "succeeded");
  return id;
}

async function idsAt(path: string, options = {}): Promise<number[]> {
  const { response } = await callWorker(path, options);
  expect(response.status).toBe(200);
  const reader = new EventReader(response.body ?? expect.fail());
  const ids = [];
  for (let event = await reader.next(); event; event = await reader.next()) ids.push(event.id);
  return ids;
}

describe("GET /tasks/{id}/events", () => {
  test("tells proxies to hold nothing back", async () => {
    const { response } = await callWorker(`/tasks/${await ended()}/events`);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "content-encoding": "identity",
      "x-accel-buffering": "no",
    });
    await response.text();
  });

  test("continues after the event that the query names; the header counts, if there are both", async () => {
    const path = `/tasks/${await ended()}/events`;
    const all = await idsAt(path);
    expect(all).toEqual(all.map((_, i) => i + 1));
    expect(all.length).toBeGreaterThan(1);
    expect(await idsAt(`${path}?lastEventId=1`)).toEqual(all.slice(1));
    expect(await idsAt(`${path}?lastEventId=`)).toEqual(all);
    expect(await idsAt(`${path}?lastEventId=0`, { headers: { "Last-Event-ID": "1" } })).toEqual(all.slice(1));
    // No event has this number, so its reader knows nothing of this task.
    expect(await idsAt(`${path}?lastEventId=${"9".repeat(20)}`)).toEqual(all);
    const over = await callWorker(`${path}?lastEventId=${all.length}`);
    expect(over.response.status).toBe(204);
  });

  test("has the events so far and ends, if it is not to be followed", async () => {
    const id = await submitted({ type: "events_ends", delay: 3_600 });
    const path = `/tasks/${id}/events?follow=false`;
    const all = await idsAt(path);
    expect(all).toEqual([1]);
    const { response } = await callWorker(`${path}&lastEventId=1`);
    expect(response.status).toBe(204);
    await callForJson(`/tasks/${id}/cancel`, { method: "POST" });
    expect(await idsAt(`${path}&lastEventId=1`)).toEqual([2]);
    const { status, body } = await callForJson(`/tasks/${id}/events?follow=no`);
    expect([status, (body.errors as { at: string }[])[0]?.at]).toEqual([422, "query/follow"]);
  });

  test.each(["x", "-1", "1.5", "1e3"])("refuses ?lastEventId=%s", async (text) => {
    const { status, body } = await callForJson(`/tasks/${await ended()}/events?lastEventId=${text}`);
    expect([status, (body.errors as { at: string }[])[0]?.at]).toEqual([422, "query/lastEventId"]);
  });
});

describe("a link to the events of a task", () => {
  const create = async (id: string, body: unknown = { expires_in: 60 }, token = TOKEN, variables = {}) =>
    callForJson(`/tasks/${id}/events/links`, {
      method: "POST",
      site,
      variables: { ...VARIABLES, ...variables },
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  const pathOf = (url: unknown) => {
    const { pathname, origin } = new URL(String(url));
    expect(origin).toBe(site);
    return pathname;
  };
  const anybody = { site, variables: VARIABLES };
  const statusAt = async (path: string) => {
    const { response } = await callWorker(path, anybody);
    await response.text();
    return response.status;
  };

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("lets anybody watch that task, from a page of any site, and continues as usual", async () => {
    const id = await ended();
    const { status, headers, body } = await create(id);
    expect(status).toBe(201);
    expect(headers.get("Location")).toBe(body.url);
    const path = pathOf(body.url);
    const { response } = await callWorker(path, anybody);
    expect(response.headers.get("Access-Control-Allow-Origin")).toBe("*");
    expect(response.headers.get("X-Accel-Buffering")).toBe("no");
    await response.text();
    const all = await idsAt(path, anybody);
    expect(await idsAt(path, { ...anybody, headers: { "Last-Event-ID": "1" } })).toEqual(all.slice(1));
    expect(await statusAt(`${path}?lastEventId=${all.length}`)).toBe(204);
  });

  test("is good for no other task, and for nothing else", async () => {
    const [a, b] = [await ended(), await ended()];
    const path = pathOf((await create(a)).body.url);
    const token = path.split("/").at(-1) ?? "";
    expect(await statusAt(path.replace(a, b))).toBe(403);
    expect(await statusAt(path.slice(0, -1))).toBe(403);
    expect(await statusAt(`/events/links/${token}`)).toBe(403);
    expect(await statusAt(`/files/${a}/links/${token}`)).toBe(403);
    expect(await statusAt(`/tasks/${a}`)).toBe(401);
    expect(await statusAt(path)).toBe(200);
  });

  test("ends when it is said to", async () => {
    const path = pathOf((await create(await ended(), { expires_in: 60 })).body.url);
    vi.setSystemTime(Date.now() + 58_000);
    expect(await statusAt(path)).toBe(200);
    vi.setSystemTime(Date.now() + 2_000);
    expect(await statusAt(path)).toBe(403);
  });

  test("is made for what exists, for at most a week, by who may read, and with a key", async () => {
    const id = await ended();
    expect((await create("s0-none")).status).toBe(404);
    for (const body of [{ expires_in: 0 }, { expires_in: 604_801 }, {}, { expires_in: 60, id }])
      expect((await create(id, body)).status).toBe(422);
    expect((await create(id, { expires_in: 60 }, `${TOKEN}-writer`)).status).toBe(403);
    const { status, body } = await create(id, { expires_in: 60 }, TOKEN, { LINK_KEYS: "" });
    expect([status, body.type]).toEqual([503, "urn:sluice:problem:no-link-key"]);
  });
});
