/** What happens to all tasks of a ledger, for those that watch. */
import { describe, expect, test } from "vitest";
import { Feed } from "../../../src/tasks/ledger/feed.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { EventReader } from "../../support/events.ts";
import { keepQuiet } from "../../support/quiet.ts";

describe("the feed", () => {
  const open = async () => {
    const feed = new Feed(() => undefined);
    const stream = feed.watch("reader");
    const reader = new EventReader(stream === "too-many" ? expect.fail() : stream);
    expect((await reader.next())?.event).toBe("reset");
    return { feed, reader };
  };

  test("names each task once, however often it has changed", async () => {
    const { feed, reader } = await open();
    for (const id of ["a", "b", "a", "a"]) feed.notify(id);
    expect((await reader.next())?.data).toEqual({ tasks: [], removed: ["a", "b"] });
    await reader.cancel();
  });

  test.each([
    [200, "tasks"],
    [201, "reset"],
  ])("of %i changes between two events, it sends `%s`", async (count, event) => {
    const { feed, reader } = await open();
    for (let n = 0; n < count; n++) feed.notify(`t${n}`);
    expect((await reader.next())?.event).toBe(event);
    feed.notify("last");
    expect((await reader.next())?.data).toEqual({ tasks: [], removed: ["last"] });
    await reader.cancel();
  });
});

describe("GET /events", () => {
  keepQuiet();

  test("has what happens to a task from its submission to its removal, and an upstream's calls", async () => {
    const { response } = await callWorker("/events");
    expect(response.headers.get("Content-Type")).toMatch(/^text\/event-stream/);
    const reader = new EventReader(response.body ?? expect.fail());
    const begun = await reader.next();
    expect(begun).toMatchObject({ event: "begin", data: { lacking: [] } });
    const { body } = await callForJson("/tasks?wait=10", {
      method: "POST",
      headers: { "Content-Type": "application/json", Prefer: "wait=10" },
      body: JSON.stringify({ type: "task_a", input: {} }),
    });
    const id = String(body.id);
    const seen = await until(reader, ({ data }) => lineOf(data, id)?.status === "succeeded");
    expect(seen.some(({ event }) => event === "upstream")).toBe(true);
    expect(lineOf(seen.at(-1)?.data ?? {}, id)).not.toHaveProperty("input");
    await callWorker(`/tasks/${id}`, { method: "DELETE" });
    await until(reader, ({ data }) => Array.isArray(data.removed) && data.removed.includes(id));
    await reader.cancel();
  });
});

type Line = Record<string, unknown>;
const lineOf = (data: Record<string, unknown>, id: string): Line | undefined =>
  ((data.tasks ?? []) as Line[]).find((line) => line.id === id);

/** The events up to one. */
async function until(
  reader: EventReader,
  isLast: (event: NonNullable<Awaited<ReturnType<EventReader["next"]>>>) => boolean,
) {
  const seen = [];
  for (;;) {
    const event = (await reader.next()) ?? expect.fail("the stream has ended");
    seen.push(event);
    if (isLast(event)) return seen;
  }
}
