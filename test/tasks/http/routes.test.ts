/** Reading tasks: their types, a single task, and its events. The list has a file of its own. */

import { env, reset, runInDurableObject } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTask, NonRetryableError, registerTaskTypes } from "../../../src/tasks/index.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { newTaskId } from "../../../src/tasks/ledger/task-id.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { EventReader, type ServerSentEvent } from "../../support/events.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { begin, submitted, taskOf, taskWhen } from "../../support/submissions.ts";

expectRuntimeErrors("restarted by a test");

let gate = Promise.withResolvers<void>();
const person = z.object({ name: z.string().min(2), age: z.int().default(7) });

registerTaskTypes([
  defineTask({ name: "look_person", input: person, run: async () => null }),
  defineTask({
    name: "look_odd",
    input: z.object({ at: z.date(), text: z.string().transform((text) => text.length) }),
    retry: { retries: 0, minDelayMs: 5, maxDelayMs: 50, factor: 3 },
    timeoutMs: 1234,
    concurrency: 2,
    lane: "long",
    run: async () => null,
  }),
  defineTask({
    name: "look_steps",
    input: z.unknown(),
    async run(ctx) {
      await ctx.step("one", async () => 1);
      ctx.progress(0.5, "half");
      await gate.promise;
      for (let i = 2; i <= 5; i++) await ctx.step(`step ${i}`, async () => i);
      return "done";
    },
  }),
  defineTask({
    name: "look_fails",
    input: z.unknown(),
    run: async () => {
      throw new NonRetryableError("no");
    },
  }),
]);

const eventsOf = async (id: string, lastEventId?: string, method = "GET") => {
  const headers: Record<string, string> = lastEventId === undefined ? {} : { "Last-Event-ID": lastEventId };
  return (await callWorker(`/tasks/${id}/events`, { headers, method })).response;
};

async function open(id: string, lastEventId?: string) {
  const { body } = await eventsOf(id, lastEventId);
  if (!body) throw new Error("no stream");
  return new EventReader(body);
}

/** All remaining events. */
async function rest(reader: EventReader): Promise<ServerSentEvent[]> {
  const events: ServerSentEvent[] = [];
  for (let event = await reader.next(); event; event = await reader.next()) events.push(event);
  return events;
}

const namesOf = (events: ServerSentEvent[]) =>
  events.map(({ id, event, data }) => `${id} ${event} ${String(data.step ?? data.ratio ?? data.status)}`);

const ALL = [
  "1 status running",
  "2 step one",
  "3 progress 0.5",
  "4 step step 2",
  "5 step step 3",
  "6 step step 4",
  "7 step step 5",
  "8 status succeeded",
];

keepQuiet();
beforeEach(async () => {
  gate = Promise.withResolvers<void>();
  await reset();
});

describe("GET /task-types", () => {
  const types = async () =>
    (await callForJson("/task-types")).body.taskTypes as { name: string; input: object; lane: string }[];

  test("shows each type's input as JSON Schema, and how the type is run", async () => {
    expect((await types()).find(({ name }) => name === "look_person")).toEqual({
      name: "look_person",
      input: {
        $schema: "https://json-schema.org/draft/2020-12/schema",
        type: "object",
        properties: {
          name: { type: "string", minLength: 2 },
          age: expect.objectContaining({ type: "integer", default: 7 }),
        },
        required: ["name"],
      },
      retry: { retries: 3, minDelayMs: 1_000, maxDelayMs: 600_000, factor: 2 },
      timeoutMs: 3_600_000,
      concurrency: null,
      rate: null,
      perKey: false,
      paused: false,
      code: { concurrency: null, rate: null },
      lane: "fast",
      available: true,
      unavailableReason: null,
    });
  });

  test("describes the input before any transform, and leaves out what JSON Schema cannot express", async () => {
    expect((await types()).find(({ name }) => name === "look_odd")).toMatchObject({
      input: { properties: { at: {}, text: { type: "string" } } },
      retry: { retries: 0, minDelayMs: 5, maxDelayMs: 50, factor: 3 },
      timeoutMs: 1234,
      concurrency: 2,
      lane: "long",
    });
  });

  test("lists the types that can be submitted by name, without the callback type", async () => {
    const names = (await types()).map(({ name }) => name);
    expect(names).toEqual(names.toSorted());
    expect(names).toEqual(expect.arrayContaining(["look_person", "task_a", "task_b", "verify_file"]));
    expect(names).not.toContain("callback");
  });
});

describe("GET /tasks/{id}", () => {
  test("is not cacheable", async () => {
    const id = await submitted({ type: "look_person", input: { name: "Ada" } });
    const { status, headers, body } = await callForJson(`/tasks/${id}`);
    expect([status, headers.get("Cache-Control"), body.id]).toEqual([200, "no-store", id]);
    const head = await callWorker(`/tasks/${id}`, { method: "HEAD" });
    expect([head.response.status, await head.response.text()]).toEqual([200, ""]);
  });

  test("shows the input as it was sent, not as the code receives it", async () => {
    const id = await submitted({ type: "look_person", input: { name: "Ada", extra: 1 } });
    expect(await taskOf(id)).toMatchObject({ input: { name: "Ada", extra: 1 } });
  });

  test.each([
    newTaskId("s0"),
    newTaskId("s3"),
    newTaskId("s9"),
    "s0",
    "nonsense",
    "s0-%00",
    `${newTaskId("s0")}x`,
    "..%2Ftasks",
  ])("%s is a 404, and so are its events", async (id) => {
    for (const path of [`/tasks/${id}`, `/tasks/${id}/events`]) {
      const { status, body } = await callForJson(path);
      expect([status, body.type]).toEqual([404, "urn:sluice:problem:not-found"]);
    }
  });
});

describe("GET /tasks/{id}/events", () => {
  test("shows every event of a task, and ends with it", async () => {
    const id = await begin({ type: "look_steps" });
    const response = await eventsOf(id);
    expect([
      response.status,
      response.headers.get("Content-Type"),
      response.headers.get("Cache-Control"),
    ]).toEqual([200, "text/event-stream", "no-store"]);
    if (!response.body) throw new Error("no stream");
    const reader = new EventReader(response.body);
    const first = [await reader.next(), await reader.next(), await reader.next()];
    expect(first).toMatchObject([
      { id: 1, event: "status", data: { status: "running", attempt: 1, at: expect.any(String) } },
      { id: 2, event: "step", data: { status: "running", attempt: 1, step: "one" } },
      { id: 3, event: "progress", data: { status: "running", attempt: 1, ratio: 0.5, message: "half" } },
    ]);
    gate.resolve();
    const events = [...first.flatMap((event) => event ?? []), ...(await rest(reader))];
    expect(namesOf(events)).toEqual(ALL);
    expect(await taskOf(id)).toMatchObject({
      status: "succeeded",
      progress: { ratio: 0.5, message: "half" },
    });
  });

  test("shows a later reader the same events, from where that reader left off", async () => {
    const id = await begin({ type: "look_steps" });
    await passGate(id);
    await taskWhen(id, "succeeded");
    for (let last = 0; last < ALL.length; last++)
      expect(namesOf(await rest(await open(id, String(last))))).toEqual(ALL.slice(last));
    expect(namesOf(await rest(await open(id)))).toEqual(ALL);
  });

  test("HEAD returns the same status and headers as GET, and ends at once", async () => {
    const id = await begin({ type: "look_steps" });
    const response = await eventsOf(id, undefined, "HEAD");
    expect([response.status, response.headers.get("Content-Type")]).toEqual([200, "text/event-stream"]);
    expect(await response.text()).toBe("");
    gate.resolve();
    await taskWhen(id, "succeeded");
    expect((await eventsOf(id, String(ALL.length), "HEAD")).status).toBe(204);
  });

  test("tells a reader when to reconnect, and why a task has failed", async () => {
    const id = await submitted({ type: "look_fails" });
    const text = await (await eventsOf(id, "1")).text();
    const [pause, event, ...end] = text.split("\n\n");
    expect([pause, end]).toEqual(["retry: 1000", [""]]);
    expect(event).toMatch(/^id: 2\nevent: status\ndata: \{"at":"[^"]+Z","status":"failed",.*"message":"no"/);
    expect(event?.split("\n")).toHaveLength(3);
  });

  test.each([
    ["2", 204],
    ["1", 200],
    ["0", 200],
    ["", 200],
    // No event of this task: its reader is told all of it.
    ["3", 200],
    ["999999999", 200],
    ["12345678901234567890", 200],
    ["1x", 422],
    ["-1", 422],
    ["1.5", 422],
    ["last", 422],
  ])("of a task with two events, after event %s, is a %i", async (lastEventId, status) => {
    const id = await submitted({ type: "look_fails" });
    const response = await eventsOf(id, lastEventId);
    expect(response.status).toBe(status);
    if (status === 422) {
      const { errors } = await response.json<{ errors: { at: string }[] }>();
      return expect(errors).toMatchObject([{ at: "header/last-event-id" }]);
    }
    expect((await response.text()) === "").toBe(status === 204);
  });

  test.each(["", "99", "12345678901234567890"])(
    "of a task that is running, after event %j, are all of them, and the end",
    async (lastEventId) => {
      const id = await begin({ type: "look_steps" });
      const reader = await open(id, lastEventId);
      await passGate(id);
      expect(namesOf(await rest(reader))).toEqual(ALL);
    },
  );

  test("continues when a task is retried", async () => {
    const id = await submitted({ type: "look_fails" });
    expect((await eventsOf(id, "2")).status).toBe(204);
    await callForJson(`/tasks/${id}/retry`, { method: "POST" });
    expect(namesOf(await rest(await open(id, "2")))).toEqual([
      "3 status queued",
      "4 status running",
      "5 status failed",
    ]);
  });

  test("ends when the task is removed", async () => {
    const id = await submitted({ type: "look_fails", delay: 60 });
    const reader = await open(id);
    expect(await reader.next()).toMatchObject({
      id: 1,
      data: { status: "scheduled", runAt: expect.any(String) },
    });
    await callForJson(`/tasks/${id}/cancel`, { method: "POST" });
    const { response } = await callWorker(`/tasks/${id}`, { method: "DELETE" });
    expect(response.status).toBe(204);
    expect((await rest(reader)).length).toBeLessThanOrEqual(1);
  });

  test("are the same for any number of readers, and one that leaves does not disturb the others", async () => {
    const id = await begin({ type: "look_steps" });
    const readers = await Promise.all([open(id), open(id), open(id)]);
    for (const reader of readers) await reader.next();
    await readers[2]?.cancel();
    await passGate(id);
    const [one, other] = await Promise.all(readers.slice(0, 2).map(rest));
    expect([namesOf(one ?? []), namesOf(other ?? [])]).toEqual([ALL.slice(1), ALL.slice(1)]);
  });

  test("have no gap and no repetition for a reader that reconnects after a restart of the ledger", async () => {
    const id = await begin({ type: "look_steps" });
    const reader = await open(id);
    const seen = [await reader.next(), await reader.next(), await reader.next()].flatMap(
      (event) => event ?? [],
    );
    const cutOff = expect(rest(reader)).rejects.toThrow();
    await restartLedgerOf(id);
    await cutOff;
    const again = await open(id, String(seen.at(-1)?.id));
    gate.resolve();
    expect(namesOf([...seen, ...(await rest(again))])).toEqual(ALL);
    expect(await taskWhen(id, "succeeded")).toMatchObject({ attempt: 1, crashes: 0, result: "done" });
  });
});

/** Lets the task continue after it has reported its progress. */
async function passGate(id: string): Promise<void> {
  await expect.poll(() => taskOf(id), { interval: 10 }).toMatchObject({ progress: { ratio: 0.5 } });
  gate.resolve();
}

async function restartLedgerOf(id: string): Promise<void> {
  const ledger = ledgerOf(env, id);
  if (!ledger) throw new Error("no ledger");
  await runInDurableObject(ledger, (_, state) => state.abort("restarted by a test")).catch(() => undefined);
}
