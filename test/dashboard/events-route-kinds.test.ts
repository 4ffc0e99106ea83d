/** What happens to everything, in one stream. */
import { beforeEach, describe, expect, test } from "vitest";
import { callForJson, callWorker } from "../support/call.ts";
import { EventReader, type ServerSentEvent } from "../support/events.ts";
import { platform } from "../support/platform/platform.ts";
import { keepQuiet } from "../support/quiet.ts";

const JSON_TYPE = { "Content-Type": "application/json" };

keepQuiet();

async function open(kinds?: string): Promise<EventReader> {
  const { response } = await callWorker(kinds === undefined ? "/events" : `/events?kinds=${kinds}`);
  expect(response.headers.get("Content-Type")).toMatch(/^text\/event-stream/);
  const reader = new EventReader(response.body ?? expect.fail());
  expect(await reader.next()).toMatchObject({ event: "begin", data: { lacking: [] } });
  return reader;
}

type Line = Record<string, unknown>;
const lineOf = ({ data }: ServerSentEvent, kind: string, id: string): Line | undefined =>
  ((data[kind] ?? []) as Line[]).find((line) => line.id === id);
const isRemoved = ({ event, data }: ServerSentEvent, kind: string, id: string) =>
  event === kind && (data.removed as string[]).includes(id);

/** The events up to one. */
async function until(reader: EventReader, isLast: (event: ServerSentEvent) => boolean) {
  const seen = [];
  for (;;) {
    const event = (await reader.next()) ?? expect.fail("the stream has ended");
    seen.push(event);
    if (isLast(event)) return seen;
  }
}

describe("GET /events has what happens", () => {
  test("to a task from its submission to its removal, and an upstream's calls", async () => {
    const reader = await open();
    const { body } = await callForJson("/tasks?wait=10", {
      method: "POST",
      headers: { ...JSON_TYPE, Prefer: "wait=10" },
      body: JSON.stringify({ type: "task_a", input: {} }),
    });
    const id = String(body.id);
    const seen = await until(reader, (event) => lineOf(event, "tasks", id)?.status === "succeeded");
    expect(seen.some(({ event }) => event === "upstream")).toBe(true);
    expect(lineOf(seen.at(-1) ?? expect.fail(), "tasks", id)).not.toHaveProperty("input");
    await callWorker(`/tasks/${id}`, { method: "DELETE" });
    await until(reader, (event) => isRemoved(event, "tasks", id));
    await reader.cancel();
  });

  test("to a file: stored, replaced, removed; each as a list has it, without its URL", async () => {
    const reader = await open("files");
    const put = async (text: string) => {
      const headers = { "Content-Type": "text/plain" };
      await callWorker("/files/watched.txt", { method: "PUT", headers, body: text });
      const { body } = await callForJson("/files?prefix=watched.txt");
      const [{ url, ...listed }] = body.files as [Line];
      expect(url).toContain("/files/watched.txt");
      return listed;
    };
    for (const text of ["one", "two"]) {
      const listed = await put(text);
      const seen = await until(
        reader,
        (event) => lineOf(event, "files", "watched.txt")?.etag === listed.etag,
      );
      expect(lineOf(seen.at(-1) ?? expect.fail(), "files", "watched.txt")).toEqual(listed);
    }
    await callWorker("/files/watched.txt", { method: "DELETE" });
    await until(reader, (event) => isRemoved(event, "files", "watched.txt"));
    await reader.cancel();
  });

  test("to a schedule: made and removed, by its id", async () => {
    const reader = await open("schedules");
    const body = JSON.stringify({ cron: "0 0 1 1 *", type: "task_a" });
    const made = await callForJson("/schedules", { method: "POST", headers: JSON_TYPE, body });
    const id = String(made.body.id);
    await until(reader, ({ data }) => (data.schedules as string[] | undefined)?.includes(id) === true);
    await callWorker(`/schedules/${id}`, { method: "DELETE" });
    await until(reader, (event) => isRemoved(event, "schedules", id));
    await reader.cancel();
  });
});

describe("GET /events", () => {
  beforeEach(() => platform.reset());

  test("calls no object of another kind, and writes nothing", async () => {
    await callForJson("/schedules");
    const used = await platform.measure(async () => {
      const reader = await open("schedules");
      await reader.next();
      await reader.cancel();
    });
    expect(used).toMatchObject({ objectRequests: 1, rowsWritten: 0 });
  });

  test.each([
    ["schedules,,", 200],
    ["", 200],
    ["schedules,moods", 422],
  ])("?kinds=%s gets a %i", async (kinds, status) => {
    const { response } = await callWorker(`/events?kinds=${kinds}`);
    expect(response.status).toBe(status);
    await response.body?.cancel();
  });
});
