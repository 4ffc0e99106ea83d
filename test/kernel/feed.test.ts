/** What happens to the things that an object keeps, for those that watch all of them. */
import { describe, expect, test } from "vitest";
import { Feed } from "../../src/kernel/feed.ts";
import { EventReader } from "../support/events.ts";

describe("the feed", () => {
  const read = async (feed: Feed<unknown>) => {
    const stream = feed.watch("reader");
    const reader = new EventReader(stream === "too-many" ? expect.fail() : stream);
    expect(await reader.next()).toMatchObject({ event: "reset", data: { of: "things" } });
    return reader;
  };
  const open = async (things: Record<string, number> = {}) => {
    const feed = new Feed("things", (id) => things[id]);
    return { feed, reader: await read(feed) };
  };

  test("has things as they are when it is sent, and the ids of those that are gone", async () => {
    const things: Record<string, number> = { a: 1, b: 2 };
    const { feed, reader } = await open(things);
    feed.notify("a");
    feed.notify("gone");
    things.a = 3;
    expect(await reader.next()).toMatchObject({ event: "things", data: { things: [3], removed: ["gone"] } });
    await reader.cancel();
  });

  test("names each thing once, however often it has changed", async () => {
    const { feed, reader } = await open();
    for (const id of ["a", "b", "a", "a"]) feed.notify(id);
    expect((await reader.next())?.data).toEqual({ things: [], removed: ["a", "b"] });
    await reader.cancel();
  });

  test("notes nothing while nobody watches", async () => {
    const asked: string[] = [];
    const feed = new Feed("things", (id) => asked.push(id));
    feed.notify("before");
    const reader = await read(feed);
    feed.notify("after");
    await reader.next();
    expect(asked).toEqual(["after"]);
    await reader.cancel();
  });

  test.each([
    [200, "things"],
    [201, "reset"],
  ])("of %i changes between two events, it sends `%s`", async (count, event) => {
    const { feed, reader } = await open();
    for (let n = 0; n < count; n++) feed.notify(`t${n}`);
    expect((await reader.next())?.event).toBe(event);
    feed.notify("last");
    expect((await reader.next())?.data).toEqual({ things: [], removed: ["last"] });
    await reader.cancel();
  });
});
